"""The one reader of tables: labels, splits, manifests, predictions, questions.

The csv module forgives by default: it drops cells beyond the header, lets the last of two equal
columns win, and takes an open quote to the end of the file for one cell. Here these are faults.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tcssa.errors import FileError, TableError
from tcssa.files.text import read_text

# The module's limit of 131,072 characters holds for the whole process and cannot be given to one
# reader; what a file's cells may take is bounded by the file.
csv.field_size_limit(2**31 - 1)

_MAX_COLUMNS = 100_000


@dataclass(frozen=True)
class Table:
    """The rows of a table by the line on which each begins; the header is line 1 or later.

    Attributes:
        columns: The names in the header, without spaces at both ends.
        rows: Of each line its cells by column, without spaces at both ends.
    """

    columns: Sequence[str]
    rows: dict[int, dict[str, str]]


def read_table(
    path: Path,
    *,
    needed: Sequence[str] = (),
    delimiter: str | None = None,
    multiline: bool = False,
    error: type[FileError] = TableError,
) -> Table:
    """Read a table with a header.

    Args:
        path: A file of UTF-8 text; lines end with LF, CRLF or CR.
        needed: Columns that must be there.
        delimiter: Between cells; None takes a tab if the header has one, else a semicolon, else a
            comma.
        multiline: Whether a quoted cell may hold line ends, as the texts of questions do. Where
            names and labels stand it is the sign of a quote that was never closed.
        error: What to raise.

    Raises:
        FileError: Of the type ``error``; the file cannot be read, is empty, has an open quote, a
            row longer than the header, or columns that cannot be told apart; the line is named.
    """
    text = read_text(path, error)
    if delimiter is None:
        delimiter = _delimiter(text)
    lines = cells_by_line(text, path, error, delimiter=delimiter, multiline=multiline)
    _, header = next(lines, (0, []))
    columns = [name.strip() for name in header]
    if not any(columns):
        raise error(path, "the table is empty")
    _require_distinct(columns, path, error)
    missing = [name for name in needed if name not in columns]
    if missing:
        found = ", ".join(filter(None, columns))
        raise error(path, f"lacks the columns {', '.join(missing)}; found: {found}")
    rows: dict[int, dict[str, str]] = {}
    for line, cells in lines:
        if len(cells) > len(columns):
            raise error(
                path,
                f"line {line} has {len(cells)} cells, the header {len(columns)}",
                hint="put quotes around a cell that holds the separator",
            )
        cells += [""] * (len(columns) - len(cells))
        rows[line] = {name: cell.strip() for name, cell in zip(columns, cells, strict=True) if name}
    return Table([name for name in columns if name], rows)


def cells_by_line(
    text: str, path: Path, error: type[FileError], *, delimiter: str = ",", multiline: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Cut text into the cells of each row that is not blank, with the line on which it begins.

    Args:
        text: The table, with or without a header.
        path: Named in errors.
        error: What to raise.
        delimiter: Between cells.
        multiline: Whether a quoted cell may hold line ends.

    Raises:
        FileError: Of the type ``error``; a quote is not closed, or a cell holds a line end that may
            not.
    """
    # newline="": the csv module ends lines at LF, CRLF and CR alone, str.splitlines at ten others
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begin = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as fault:
            reason = f"line {begin}: is no row of a table ({fault})"
            raise error(path, reason, hint="look for a quote that is not closed") from None
        if cells is None:
            return
        if not multiline and any("\n" in cell or "\r" in cell for cell in cells):
            raise error(
                path,
                f"line {begin}: a cell goes on over the end of the line",
                hint="look for a quote that is not closed",
            )
        if any(cell.strip() for cell in cells):
            yield begin, cells
        begin = reader.line_num + 1


def plain_name(column: str) -> str:
    """Return a column's name without case, spaces, ``_`` and ``-``: by it the column is found."""
    return re.sub(r"[\s_-]", "", column).lower()


def _delimiter(text: str) -> str:
    header = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]
    return next((mark for mark in "\t;" if mark in header), ",")


def _require_distinct(columns: Sequence[str], path: Path, error: type[FileError]) -> None:
    if len(columns) > _MAX_COLUMNS:
        raise error(path, f"has {len(columns):,} columns, and at most {_MAX_COLUMNS:,} are read")
    seen: dict[str, str] = {}
    for name in filter(None, columns):
        other = seen.setdefault(plain_name(name), name)
        if other is not name:
            raise error(
                path,
                f"the columns {other!r} and {name!r} cannot be told apart",
                hint="rename one of them, or take it out",
            )
