"""Reading of Excel workbooks: the one sheet that holds a table, its cells as text."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from tcssa.errors import FileError
from tcssa.files.boundary import reading
from tcssa.files.limits import WORKBOOK_BYTES
from tcssa.optional import require

_ZIP, _OLD = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_AS_TEXT = "save it as CSV UTF-8"


def is_workbook(content: bytes) -> bool:
    """Tell by its first bytes whether a file is a workbook, whatever its name is."""
    return content.startswith((_ZIP, _OLD))


def sheet_rows(
    content: bytes, path: Path, error: type[FileError], *, multiline: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a workbook that are not blank, with their numbers.

    Rows are as long as the first one, unless they hold more.

    Args:
        content: The file.
        path: Its path, named in errors.
        error: Type of the error to raise.
        multiline: Whether a cell may hold line ends.

    Raises:
        FileError: Of the type ``error``; it is no workbook of the kind ``.xlsx``, several sheets
            hold cells, or a formula has no stored value.
        MissingExtraError: openpyxl is not installed.
    """
    if content.startswith(_OLD):
        raise error(path, "is a workbook of the old kind (.xls)", hint=f"{_AS_TEXT}, or as .xlsx")
    with reading(path, error), zipfile.ZipFile(io.BytesIO(content)) as archive:
        if "xl/workbook.xml" not in archive.namelist():
            raise error(path, "is a zip archive, and no workbook of Excel", hint=_AS_TEXT)
        unpacked = sum(part.file_size for part in archive.infolist())
        WORKBOOK_BYTES.require(unpacked, path, error)
    openpyxl = require("openpyxl", "excel")
    with reading(path, error):
        stored, written = (
            openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=only_values)
            for only_values in (True, False)
        )
        name = _only_sheet(stored, path, error)
        yield from _rows(stored[name], written[name], path, error, multiline=multiline)


def _only_sheet(book: Any, path: Path, error: type[FileError]) -> str:
    """Return the name of the sheet that holds cells; hidden ones do not count."""
    filled = []
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # what a file says of its size may be wrong, and would cut it
        values = chain.from_iterable(sheet.iter_rows(values_only=True))
        if sheet.sheet_state == "visible" and any(value is not None for value in values):
            filled.append(sheet.title)
    if not filled:
        raise error(path, "the table is empty")
    if len(filled) > 1:
        raise error(
            path,
            f"holds several sheets: {', '.join(filled)}",
            hint="keep the one you mean in a file of its own",
        )
    name: str = filled[0]
    return name


def _rows(
    stored: Any, written: Any, path: Path, error: type[FileError], *, multiline: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a sheet; ``written`` is the same sheet with formulas instead of values."""
    written.reset_dimensions()
    width = 0
    for line, (row, of_formulas) in enumerate(
        zip(stored.iter_rows(), written.iter_rows(), strict=True), start=1
    ):
        cells = [_text(cell) for cell in row]
        for cell, formula in zip(cells, of_formulas, strict=True):
            if formula.data_type == "f" and not cell:
                raise error(
                    path,
                    f"line {line} has a formula without a stored value ({formula.value})",
                    hint="open it in Excel and save it, or keep values instead of formulas",
                )
        if not multiline and any("\n" in cell.strip() for cell in cells):
            raise error(path, f"line {line}: a cell goes on over the end of the line")
        while cells and not cells[-1].strip():
            cells.pop()
        if cells:
            width = width or len(cells)
            yield line, cells + [""] * (width - len(cells))


def _text(cell: Any) -> str:
    """Return a cell as Excel would write it into a CSV file, with all digits of its number."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float) and value == int(value):
        zeros = re.fullmatch("0+", cell.number_format or "")  # 7 is shown as 0007
        return str(int(value)).zfill(len(zeros[0]) if zeros else 0)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ").removesuffix(" 00:00:00")
    return str(value)
