"""Readers of official splits: the training, validation and test slides of published folds.

The forms read are CLAM's ``splits_0.csv …`` (columns train, val, test of slide names),
Patho-Bench's table (a column ``fold_0 …`` for each fold) and our own ``splits.csv`` of the same
form, a table with one column ``split``, and a folder of three tables whose names end with train,
val and test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tcssa.errors import TableError
from tcssa.features.tables import find_column, slide_name
from tcssa.files.table import Table, read_table

PARTS = ("train", "val", "test")
_SLIDE_COLUMNS = ("slide_id", "slide", "image_id", "filename")
_SPELLINGS = {"train": "train", "training": "train", "val": "val", "valid": "val", "tune": "val",
              "validation": "val", "test": "test", "testing": "test"}  # fmt: skip

Parts = dict[str, str]
"""One fold: slide_id to part, for the slides that the fold uses."""


def read_parts(path: Path) -> list[Parts]:
    """Read splits in one of the forms above; a fold may lack a validation part.

    Args:
        path: A table, or a folder of tables.

    Raises:
        TableError: The form is not known, or a slide is in two parts of a fold.
    """
    if path.is_dir():
        return _read_folder(path)
    table = read_table(path)
    if all(find_column(table.columns, [part]) for part in ("train", "test")):
        return [_by_part(path, table)]
    return _by_fold(path, table)


def _read_folder(folder: Path) -> list[Parts]:
    numbered = {
        int(found[1]): path
        for path in folder.glob("splits_*.csv")
        if (found := re.fullmatch(r"splits_(\d+)\.csv", path.name))
    }
    if numbered:
        return [_by_part(path, read_table(path)) for _, path in sorted(numbered.items())]
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
                hint="see docs/train-mil-reference.md on official splits",
            )
        for path in paths:
            table = read_table(path)
            column = _slide_column(path, table.columns)
            _raise(path, [_added(parts, row[column], part, n) for n, row in table.rows.items()])
    return [parts]


def _by_part(path: Path, table: Table) -> Parts:
    """Read CLAM's form: one column for each part, with slide names in it."""
    parts: Parts = {}
    faults = []
    for part in PARTS:
        column = find_column(table.columns, [part])
        if column is not None:  # columns are of different lengths
            named = {line: row[column] for line, row in table.rows.items() if row[column]}
            faults += [_added(parts, slide, part, line) for line, slide in named.items()]
    _raise(path, faults)
    return parts


def _by_fold(path: Path, table: Table) -> list[Parts]:
    """Read Patho-Bench's form and ours: one row for each slide, one column for each fold."""
    slide = _slide_column(path, table.columns)
    folds = [name for name in table.columns if re.fullmatch(r"(?i)fold_?[0-9]+", name)]
    columns = folds or [name for name in (find_column(table.columns, ["split"]),) if name]
    if not columns:
        found = ", ".join(table.columns)
        raise TableError(
            path,
            f"names no splits: wants fold_0 …, split, or train and test; found: {found}",
            hint="see docs/train-mil-reference.md on official splits",
        )
    faults: list[str | None] = []
    parts_of: list[Parts] = [{} for _ in columns]
    for line, row in table.rows.items():
        for parts, column in zip(parts_of, columns, strict=True):
            stated = row[column].lower()
            if stated and stated not in _SPELLINGS:
                faults.append(f"line {line}: {row[column]!r} is none of train, val, test")
            elif stated:
                faults.append(_added(parts, row[slide], _SPELLINGS[stated], line))
    _raise(path, faults)
    return parts_of


def _slide_column(path: Path, header: Sequence[str]) -> str:
    column = find_column(header, _SLIDE_COLUMNS)
    if column is None:
        raise TableError(path, f"has no column slide_id, found: {', '.join(header)}")
    return column


def _added(parts: Parts, cell: str, part: str, line: int) -> str | None:
    """Add a slide to its part; return what is wrong with the cell, if anything is."""
    name = slide_name(cell)
    if not name:
        return f"line {line}: names no slide"
    if parts.setdefault(name, part) != part:
        return f"line {line}: slide {name!r} stands in both {parts[name]} and {part}"
    return None


def _raise(path: Path, faults: Iterable[str | None]) -> None:
    found = [fault for fault in faults if fault]
    if found:
        raise TableError(path, found)
