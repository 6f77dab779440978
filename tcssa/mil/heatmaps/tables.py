"""Evidence patch by patch: as a table, which heat maps are drawn from again, and for QuPath."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tcssa.errors import FileError
from tcssa.files import atomic
from tcssa.files.boundary import reading
from tcssa.files.table import read_table
from tcssa.mil.heatmaps.scales import Floats, Scale
from tcssa.mil.heatmaps.slide_map import ATTENTION, SlideMap
from tcssa.reports.patches_geojson import write_detections
from tcssa.slides.image.places import Places

_FOR, _AGAINST = (0.84, 0.19, 0.15), (0.13, 0.40, 0.67)
_EVIDENCE = "evidence for "


def write_evidence(path: Path, slide_map: SlideMap, places: Places | None) -> None:
    """Write a row a patch: its row in the features, corner, evidence, attention.

    Args:
        path: The CSV file.
        slide_map: The evidence.
        places: Locations of the patches; None leaves x and y empty.
    """
    columns = {_name(name): values.tolist() for name, values in slide_map.values.items()}
    count = len(next(iter(columns.values())))
    corners = [("", "")] * count if places is None else places.coords.tolist()
    rows = (
        [row, *corner, *values]
        for row, (corner, values) in enumerate(
            zip(corners, zip(*columns.values(), strict=True), strict=True)
        )
    )
    atomic.write_csv(path, ["patch", "x", "y", *columns], rows)


def read_evidence(path: Path, leading: Sequence[str]) -> SlideMap:
    """Read what `write_evidence` wrote.

    Args:
        path: The CSV file.
        leading: The quantities that the slide's prediction rests on.

    Raises:
        FileError: The table is damaged.
    """
    table = read_table(path, delimiter=",", exact=True, error=FileError)
    with reading(path, FileError):
        values = {
            column.removeprefix(_EVIDENCE): np.array(
                [float(row[column]) for row in table.rows.values()]
            )
            for column in table.columns[3:]
        }
    return SlideMap(
        {name: each for name, each in values.items() if name != ATTENTION},
        values.get(ATTENTION),
        list(leading),
    )


def write_geojson(path: Path, slide_map: SlideMap, places: Places, name: str) -> None:
    """Write a detection a patch, classified as for or against a quantity.

    Its measurements are all evidence, the attention, and the percentile of each.

    Args:
        path: The GeoJSON file.
        slide_map: The evidence.
        places: Locations of the patches, in level-0 pixels.
        name: The quantity that patches are classified by.
    """
    measured: dict[str, Floats] = {}
    for each, values in slide_map.values.items():
        scale = Scale.of("percentile", values, signed=each != ATTENTION)
        measured |= {_name(each): values, f"{_name(each)}, percentile": 100 * scale(values)}
    rows = [
        {name: float(f"{value:.6g}") for name, value in zip(measured, row, strict=True)}
        for row in zip(*(values.tolist() for values in measured.values()), strict=True)
    ]
    sides = {f"for {name}": _FOR, f"against {name}": _AGAINST}
    for_it, against = sides
    classes = [for_it if value > 0 else against for value in slide_map.evidence[name].tolist()]
    write_detections(path, places.coords, places.side, classes, rows, colours=sides)


def _name(quantity: str) -> str:
    return quantity if quantity == ATTENTION else f"{_EVIDENCE}{quantity}"
