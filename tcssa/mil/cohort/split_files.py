"""Readers of official splits: the training, validation and test slides of published folds.

The forms read are CLAM's ``splits_0.csv …`` (columns train, val, test of slide names; MCAT's have
patients, and no test) and ``splits_0_bool.csv …`` (a row for each slide, and which part is true),
Patho-Bench's table (a column ``fold_0 …`` for each fold) and our own ``splits.csv`` of the same
form, a table with one column ``split``, and a folder of three tables whose names end with train,
val and test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tcssa.errors import TableError
from tcssa.features.tables import find_column, slide_name
from tcssa.files.table import Table, is_missing, read_table

PARTS = ("train", "val", "test")
_SLIDE_COLUMNS = ("slide_id", "slide", "image_id", "filename", "case_id", "patient_id", "patient")
_SPELLINGS = {"train": "train", "training": "train", "val": "val", "valid": "val", "tune": "val",
              "validation": "val", "test": "test", "testing": "test"}  # fmt: skip
_INDEX = "index of the table"
"""Name of a first column without one, in which pandas keeps the slides of ``splits_0_bool.csv``."""
_TRUTHS = {"true", "false", ""}

Parts = dict[str, str]
"""One fold: slide_id to part, for the slides that the fold uses; a case_id may stand for its
patient's slides."""


def read_parts(path: Path) -> list[Parts]:
    """Read splits in one of the forms above; a fold may lack a validation part.

    Args:
        path: A table, or a folder of tables.

    Raises:
        TableError: The form is not known, or a slide is in two parts of a fold.
    """
    if path.is_dir():
        return _read_folder(path)
    table = read_table(path, index=_INDEX)
    if find_column(table.columns, ["train"]) and find_column(table.columns, ["test", "val"]):
        return [_by_part(path, table)]
    return _by_fold(path, table)


def _read_folder(folder: Path) -> list[Parts]:
    for pattern in (r"splits_(\d+)\.csv", r"splits_(\d+)_bool\.csv"):  # CLAM writes the same twice
        numbered = {
            int(found[1]): path
            for path in folder.glob("splits_*.csv")
            if (found := re.fullmatch(pattern, path.name))
        }
        if numbered:
            tables = {path: read_table(path, index=_INDEX) for _, path in sorted(numbered.items())}
            return [_by_part(path, table) for path, table in tables.items()]
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
    """Read CLAM's forms: one column for each part, with slide names in it or truth values."""
    parts: Parts = {}
    faults: list[str | None] = []
    columns = {part: find_column(table.columns, [part]) for part in PARTS}
    slide = _slide_column(path, table.columns) if _says_which_is_true(table, columns) else None
    for part, column in columns.items():
        for line, row in table.rows.items() if column else ():
            cell = row[column or ""]
            if slide is not None:
                cell = row[slide] if cell.lower() == "true" else ""
            if not is_missing(cell):  # columns are of different lengths
                faults.append(_added(parts, cell, part, line))
    _raise(path, faults)
    return parts


def _says_which_is_true(table: Table, columns: Mapping[str, str | None]) -> bool:
    cells = {row[name].lower() for row in table.rows.values() for name in columns.values() if name}
    return "true" in cells and cells <= _TRUTHS


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
            stated = "" if is_missing(row[column]) else row[column].lower()
            if stated and stated not in _SPELLINGS:
                faults.append(f"line {line}: {row[column]!r} is none of train, val, test")
            elif stated:
                faults.append(_added(parts, row[slide], _SPELLINGS[stated], line))
    _raise(path, faults)
    return parts_of


def _slide_column(path: Path, header: Sequence[str]) -> str:
    column = find_column(header, (*_SLIDE_COLUMNS, _INDEX))
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
