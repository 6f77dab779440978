"""Features in text: a ``.csv`` file with one row per patch, as SlideChat and DSMIL publish them.

A row is D numbers. Beside them may stand what is no feature: an index in front, as pandas writes
it, the patch's name in front or behind, coordinates or a label under their usual names. A header
may come first. A patch's name gives its position in ways that differ between data sets, so no
coordinates are read.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError
from tcssa.files.table import cells_by_line, number, numbers, plain_name
from tcssa.files.text import lines_of, read_text

_NO_FEATURES = {
    "case", "caseid", "class", "col", "column", "coords", "coordinates", "coordx", "coordy", "file",
    "filename", "id", "image", "imageid", "imagename", "index", "label", "level", "name", "patch",
    "patchid", "patchname", "path", "patient", "patientid", "pos", "position", "row", "slide",
    "slideid", "slidename", "target", "tile", "tileid", "tilename", "wsi", "x", "xcoord", "y",
    "ycoord",
}  # fmt: skip
"""Names of columns, reduced by `plain_name`, that stand beside features and are none."""
_NUMBERED = re.compile(r"(\D*)(\d+)")
_LONG_ENOUGH = 8
"""Columns from which a count 1, 2, … is a header; the first row of fewer may be features."""
_PEEK = 2**20
"""Bytes in which the first two rows of a table of patches stand."""


@dataclass(frozen=True)
class _Layout:
    """The columns of a table of patches."""

    width: int
    """Cells of a row."""
    first: int
    """Column of the first feature; those before are names or an index."""
    end: int
    """Column behind the last feature."""
    names: Sequence[str] | None
    """The header; None if there is none."""
    has_index: bool
    """The first column is an index without a name."""
    texts: Sequence[int]
    """Columns known by their content alone to hold names of patches."""

    @property
    def dim(self) -> int:
        """The length D of the features."""
        return self.end - self.first


def read_csv_features(path: Path) -> NDArray[np.float32]:
    """Read the features [N, D] of a ``.csv`` file.

    Raises:
        FeatureFileError: The file holds no features, a row differs in length from the first or
            holds something other than numbers (the error names the line), or a column may be
            features or an index.
    """
    text = read_text(path, FeatureFileError, table=True)
    rows = cells_by_line(lines_of(text), path, FeatureFileError, delimiter=_delimiter(text))
    line, cells = next(rows, (0, []))
    names = cells if _is_header(cells) else None
    if names is not None:
        line, cells = next(rows, (0, []))
    if not cells:
        raise FeatureFileError(path, "holds no features")
    layout = _layout(names, cells)
    if layout.dim < 1:
        raise FeatureFileError(path, f"line {line} holds no features, which are numbers")
    values = array("f")  # the numbers of a list take eight times the memory
    counts = []
    while cells:
        _require_row(layout, line, cells, path)
        try:
            values.extend(numbers(cells[layout.first : layout.end]))
        except ValueError as fault:
            raise FeatureFileError(path, f"line {line}: {fault}") from None
        counts.append(cells[layout.first].strip())
        line, cells = next(rows, (0, []))
    features = np.frombuffer(values, dtype=np.float32).reshape(-1, layout.dim)
    if names is None and _counts_rows(counts) and not _all_whole(features[:, 1:]):
        raise FeatureFileError(
            path,
            "the first column counts the rows: it is an index, or a feature",
            hint="write the table without its index (pandas: index=False), or with a header",
        )
    return features


def is_patch_table(path: Path) -> bool:
    """Tell whether a ``.csv`` file looks like features, by its first rows, unlike a label table.

    A header of words is one of features only if they are numbered, as ``f0, f1, …``.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_PEEK)
        lines = [each for each in lines_of(content.decode("utf-8-sig", "replace")) if each.strip()]
        delimiter = _delimiter("".join(lines[:2]))
        rows = cells_by_line(lines[:2], path, FeatureFileError, delimiter=delimiter)
        (_, first), (_, second) = next(rows), next(rows, (0, []))
    except (OSError, FeatureFileError, StopIteration):
        return False
    if not _is_header(first):
        layout = _layout(None, first)
        cells = first[layout.first : layout.end]
        return layout.dim > 1 and any(mark in cell for cell in cells for mark in ".eE")
    layout = _layout(first, second or first)
    begin, end = _numbered(first)
    return layout.dim > 1 and begin <= layout.first and layout.end <= end


def _layout(names: Sequence[str] | None, cells: Sequence[str]) -> _Layout:
    """Find the columns of features between those in front of and behind them.

    Args:
        names: The header, if there is one.
        cells: The first row below it.
    """
    width = len(cells)
    texts = [i for i, cell in enumerate(cells) if cell.strip() and _number(cell) is None]
    aside = set(texts)
    has_index = False
    if names is None:  # among columns without names a second text is a damaged number
        aside &= {0, width - 1}
    else:
        named = [plain_name(name) for name in names[:width]]
        begin, close = _numbered(names[:width])
        if 2 * (close - begin) > width:  # what stands outside of the numbers is something else
            aside |= set(range(width)) - set(range(begin, close))
        aside |= {i for i, name in enumerate(named) if _is_no_feature(name)}
        has_index = bool(named) and named[0] in ("", "unnamed:0") and 0 not in texts
        aside |= {0} if has_index else set()
    first = 0
    while first in aside:
        first += 1
    end = width
    while end > first and end - 1 in aside:
        end -= 1
    known = [i for i in texts if not first <= i < end]
    if names is not None:
        known = [i for i in known if i < len(names) and not names[i].strip()]
    return _Layout(width, first, end, names, has_index, known)


def _require_row(layout: _Layout, line: int, cells: Sequence[str], path: Path) -> None:
    """Require that a row has the columns that the first one has."""
    width = layout.width if layout.names is None else len(layout.names)
    if len(cells) != width:
        reason = f"line {line} has {len(cells)} cells, the first line {width}"
        raise FeatureFileError(path, reason)
    if layout.has_index and not cells[0].strip().isdecimal():
        raise FeatureFileError(
            path,
            f"line {line}: {cells[0]!r} stands in a first column without a name, which may be an "
            "index or features",
            hint="name the column, or take it out (pandas: index=False)",
        )
    odd = next((i for i in layout.texts if _number(cells[i]) is not None), None)
    if odd is not None:
        raise FeatureFileError(
            path,
            f"line {line}: column {odd + 1} holds {cells[odd]!r}, a number, and text in the first "
            "row: it may be features or names",
            hint="give the column a header such as name, or mend the number",
        )


def _is_header(cells: Sequence[str]) -> bool:
    """Tell whether cells are names or column numbers; a single damaged number makes no header."""
    known = [cell.strip() for cell in cells if _number(cell) is not None]
    if not known:
        return any(cell.strip() for cell in cells)
    begins = {"0": 0, "1": 1}.get(known[0])
    if begins is None or (begins == 1 and len(known) < _LONG_ENOUGH):
        return False
    return known == [str(begins + i) for i in range(len(known))] and len(known) > 1


def _is_no_feature(plain: str) -> bool:
    return plain in _NO_FEATURES or plain.startswith("unnamed:")


def _numbered(names: Sequence[str]) -> tuple[int, int]:
    """Return where the longest run of numbered names begins and ends: ``f0, f1, …``."""
    best, begin = (0, 0), 0
    for place, name in enumerate(names):
        before, found = _number_of(names[place - 1]), _number_of(name)
        goes_on = place > 0 and found is not None and found == _next(before)
        begin = begin if goes_on else place
        if found is not None and place + 1 - begin > best[1] - best[0]:
            best = begin, place + 1
    return best


def _number_of(name: str) -> tuple[str, int] | None:
    found = _NUMBERED.fullmatch(name.strip())
    return (found[1], int(found[2])) if found else None


def _next(numbered: tuple[str, int] | None) -> tuple[str, int] | None:
    return None if numbered is None else (numbered[0], numbered[1] + 1)


def _counts_rows(column: Sequence[str]) -> bool:
    begin = {"0": 0, "1": 1}.get(column[0])
    return (
        begin is not None
        and len(column) > 1
        and all(cell == str(begin + row) for row, cell in enumerate(column))
    )


def _all_whole(features: NDArray[np.float32]) -> bool:
    return bool(np.all(features == np.round(features)))


def _delimiter(text: str) -> str:
    begin = next((line for line in lines_of(text) if line.strip()), "")
    return next((mark for mark in "\t;" if mark in begin), ",")


def _number(cell: str) -> float | None:
    try:
        return number(cell)
    except ValueError:
        return None
