"""Official splits: who trains, validates and tests, as others wrote it down.

Read are CLAM's ``splits_0.csv …`` (columns train, val, test of slide names), Patho-Bench's table
(a column ``fold_0 …`` a fold) and our own ``splits.csv``, which is of the same form, a table with
one column ``split``, and a folder of three tables whose names end with train, val and test.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tcssa.errors import TableError
from tcssa.features.tables import find_column, read_rows, read_rows_by_line, slide_name

PARTS = ("train", "val", "test")
_SLIDE_COLUMNS = ("slide_id", "slide", "image_id", "filename")
_SPELLINGS = {"train": "train", "training": "train", "val": "val", "valid": "val", "tune": "val",
              "validation": "val", "test": "test", "testing": "test"}  # fmt: skip

Parts = dict[str, str]
"""One fold: the part of each slide that it uses."""


def read_parts(path: Path) -> list[Parts]:
    """Read splits, one of the forms above; a fold may lack a validation part.

    Args:
        path: A table, or a folder of tables.

    Raises:
        TableError: The form is not known, or a slide stands in two parts of a fold.
    """
    if path.is_dir():
        return _read_folder(path)
    header = list(next(iter(read_rows(path)), {}))
    if all(find_column(header, [part]) for part in ("train", "test")):
        return [_read_columns(path)]
    return _read_table(path, header)


def _read_folder(folder: Path) -> list[Parts]:
    numbered = {
        int(found[1]): path
        for path in folder.glob("splits_*.csv")
        if (found := re.fullmatch(r"splits_(\d+)\.csv", path.name))
    }
    if numbered:
        return [_read_columns(path) for _, path in sorted(numbered.items())]
    parts: Parts = {}
    for part in PARTS:
        paths = sorted(folder.glob(f"*{part}.[ct]sv"))
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise TableError(folder, [f"several tables are of {part}: {names}"])
        if not paths and part != "val":
            raise TableError(
                folder,
                ["holds neither splits_0.csv … nor tables ending with train.csv and test.csv"],
                hint="see docs/train-mil.md on official splits",
            )
        for path in paths:
            column = _slide_column(path, list(next(iter(read_rows(path)), {})))
            _add(parts, [row[column] for row in read_rows(path)], part, path)
    return [parts]


def _read_columns(path: Path) -> Parts:
    """CLAM's form: a column a part, slide names below."""
    rows = read_rows(path)
    parts: Parts = {}
    for part in PARTS:
        column = find_column(list(rows[0]), [part]) if rows else None
        if column is not None:
            _add(parts, [row[column] for row in rows if row[column]], part, path)
    return parts


def _read_table(path: Path, header: Sequence[str]) -> list[Parts]:
    """Patho-Bench's form and ours: a row a slide, a column a fold."""
    slide = _slide_column(path, header)
    folds = [column for column in header if re.fullmatch(r"fold_?\d+", column, re.IGNORECASE)]
    columns = folds or [column for column in (find_column(header, ["split"]),) if column]
    if not columns:
        raise TableError(
            path,
            [f"names no splits: wants fold_0 …, split, or train and test; found: {header}"],
            hint="see docs/train-mil.md on official splits",
        )
    faults = []
    table: list[Parts] = [{} for _ in columns]
    for line, row in read_rows_by_line(path).items():
        for parts, column in zip(table, columns, strict=True):
            stated = row[column].lower()
            if stated and stated not in _SPELLINGS:
                faults.append(f"line {line}: {row[column]!r} is none of train, val, test")
            elif stated:
                parts[slide_name(row[slide])] = _SPELLINGS[stated]
    if faults:
        raise TableError(path, faults)
    return table


def _slide_column(path: Path, header: Sequence[str]) -> str:
    column = find_column(header, _SLIDE_COLUMNS)
    if column is None:
        raise TableError(path, [f"has no column slide_id, found: {', '.join(header) or 'nothing'}"])
    return column


def _add(parts: Parts, names: Sequence[str], part: str, path: Path) -> None:
    for name in map(slide_name, names):
        if parts.setdefault(name, part) != part:
            raise TableError(path, [f"slide {name!r} stands in both {parts[name]} and {part}"])
