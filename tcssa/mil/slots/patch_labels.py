"""Labels that a pathologist gave to single patches: a table, matched to the rows of features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import TableError
from tcssa.features.tables import find_column, slide_name
from tcssa.files.table import number, read_table
from tcssa.mil.slots.outlined_patches import UNKNOWN, read_outlined
from tcssa.mil.slots.routed import RoutedSlide
from tcssa.reporter import Reporter
from tcssa.slides.image.places import Places

_SLIDE = ("slide_id", "slide", "filename")
_PATCH, _X, _Y = ("patch", "row"), ("x", "coord_x"), ("y", "coord_y")
_LABEL = ("label", "class", "patch_label")

PatchLabels = Mapping[str, NDArray[np.int64]]
"""The label of each patch by slide, as an index into the names, or `UNKNOWN`."""


def read_patch_labels(
    path: Path, slides: Sequence[RoutedSlide], places: Mapping[str, Places], reporter: Reporter
) -> tuple[list[str], PatchLabels]:
    """Read the labels of patches.

    Args:
        path: A table ``slide_id, label`` with either ``patch``, the row of the slide's features
            counted from 0, or ``x, y``, the patch's top-left corner in level-0 pixels; or a folder
            of outlines, see `read_outlined`.
        slides: The slides under inspection; rows of other slides are ignored.
        places: Patch locations by slide_id, for the slides whose coordinates are known.
        reporter: Receives a warning about patches in outlines of two labels.

    Returns:
        The names of the labels, sorted; and each slide's labels.

    Raises:
        TableError: Columns are missing, no patch of these slides is labelled, or rows name a patch
            that does not exist or has a label already; these rows are listed with their lines.
    """
    known = {routed.slide.slide_id: np.full(len(routed.slots), UNKNOWN) for routed in slides}
    if path.is_dir():
        names, outlined = read_outlined(path, places, reporter)
        return names, _require_some(path, known | outlined)
    table = read_table(path)
    slide_column, label_column = (find_column(table.columns, names) for names in (_SLIDE, _LABEL))
    by_row = find_column(table.columns, _PATCH)
    by_place = [find_column(table.columns, names) for names in (_X, _Y)]
    if slide_column is None or label_column is None or (by_row is None and None in by_place):
        found = ", ".join(table.columns)
        raise TableError(path, f"needs columns slide_id, label and patch (or x, y), found: {found}")
    names = sorted({row[label_column] for row in table.rows.values()} - {""})
    rows_at = {name: _rows_by_corner(places[name]) for name in known if name in places}
    faults = []
    for line, row in table.rows.items():
        labels = known.get(slide_name(row[slide_column]))
        if labels is None or not row[label_column]:
            continue
        if by_row is not None:
            patch = _whole(row[by_row])
        else:
            corner = tuple(_whole(row[column or ""]) for column in by_place)
            patch = rows_at.get(slide_name(row[slide_column]), {}).get(corner)
        if patch is None or not 0 <= patch < len(labels):
            faults.append(f"line {line}: there is no such patch")
        elif labels[patch] != UNKNOWN:
            faults.append(f"line {line}: the patch has a label already")
        else:
            labels[patch] = names.index(row[label_column])
    if faults:
        raise TableError(path, faults, hint="give rows of the run's own features")
    return names, _require_some(path, known)


def _require_some(path: Path, labels: dict[str, NDArray[np.int64]]) -> PatchLabels:
    if all((of_slide == UNKNOWN).all() for of_slide in labels.values()):
        raise TableError(path, "labels no patch of the run's test slides")
    return labels


def _rows_by_corner(places: Places) -> dict[tuple[int | None, ...], int]:
    """Map corners to rows; a corner that occurs twice identifies no patch and is left out."""
    corners = [tuple(corner) for corner in np.rint(places.coords).astype(int).tolist()]
    counts = Counter(corners)
    return {corner: row for row, corner in enumerate(corners) if counts[corner] == 1}


def _whole(cell: str) -> int | None:
    """Read a whole number; return None where a cell holds something else."""
    try:
        value = number(cell)
    except ValueError:
        return None
    return int(value) if value.is_integer() else None
