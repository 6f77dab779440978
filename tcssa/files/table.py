"""The one reader of tables: labels, splits, manifests, predictions, questions, features in text.

The csv module forgives by default: it drops cells beyond the header, fills up rows that are too
short, lets the last of two equal columns win, and takes an open quote to the end of the file for
one cell. Here these are faults: a comma too many or too few moves a label into another column.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tcssa.errors import FileError, TableError
from tcssa.files.boundary import reading, require_file
from tcssa.files.text import decoded, lines_of, read_bytes
from tcssa.files.workbook import is_workbook, sheet_rows

# The module's limit of 131,072 characters holds for the whole process and cannot be given to one
# reader; what a file's cells may take is bounded by the file.
csv.field_size_limit(2**31 - 1)

_MAX_COLUMNS = 100_000
_BLANK = " \t\r\n"
"""All that a blank row holds; other spaces may be a damaged cell."""
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"

_DECIMAL_COMMA = re.compile(r"\A'[+-]?\d+,\d+'\Z")
_EXCELS_SEPARATOR = re.compile(r'\A"?sep=(.)"?(?=[\r\n])', re.IGNORECASE)
"""A line before the header by which Excel is told the separator."""
_MISSING = frozenset(
    (
        "", "na", "n/a", "nan", "-nan", "null", "none", "#n/a", "#na", "<na>", "#null!", "--",
        "'--", "[not available]", "[not applicable]", "[not evaluated]", "[unknown]",
        "[discrepancy]", "[completed]",
    )
)  # fmt: skip
"""Cells that say that a value is not known, as pandas, R, Excel and the tables of TCGA spell it."""


def is_missing(cell: str) -> bool:
    """Tell whether a cell says that its value is not known; in every table by the same words."""
    return cell.strip().lower() in _MISSING


@dataclass(frozen=True)
class Table:
    """The rows of a table by the line on which each begins; the header is line 1 or later.

    Attributes:
        columns: The names in the header, without spaces at both ends.
        rows: The cells of each line by column, without spaces at both ends.
    """

    columns: Sequence[str]
    rows: dict[int, dict[str, str]]


def read_table(
    path: Path,
    *,
    needed: Sequence[str] = (),
    delimiter: str | None = None,
    multiline: bool = False,
    exact: bool = False,
    may_be_empty: bool = False,
    index: str = "",
    error: type[FileError] = TableError,
) -> Table:
    """Read a table with a header.

    Args:
        path: A file of text (`tcssa.files.text.decoded`) whose lines end with LF, CRLF or CR, or a
            workbook of Excel.
        needed: Columns that must be there.
        delimiter: The separator of cells; None takes a tab if the header has one, else a semicolon,
            else a comma.
        multiline: Whether a quoted cell may hold line ends, as the texts of questions do. Among
            names and labels a line end is the sign of a quote that was never closed.
        exact: Whether columns are distinct that differ only in case, spaces, ``_`` and ``-``, as in
            tables with one column per class: ``prob_1`` and ``prob_-1``.
        may_be_empty: Whether a header without rows is accepted.
        index: Name for a first column that has none, as pandas writes its index; without one the
            column is left out.
        error: Type of the error to raise.

    Raises:
        FileError: Of the type ``error``; the file cannot be read, is empty, has an open quote, a
            row longer or shorter than the header or equal to it, or columns that cannot be told
            apart; the line is named.
    """
    lines = _rows(path, error, delimiter, multiline=multiline)
    columns, by_column = _with_header(lines, path, error, needed, exact=exact, index=index)
    rows = dict(by_column)
    if not rows and not may_be_empty:
        raise error(path, "the table has a header and no rows")
    return Table(columns, rows)


def stream_table(path: Path, *, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a table that we wrote, in UTF-8 and with commas, without holding it whole.

    Args:
        path: The file.
        needed: Columns that must be there.

    Yields:
        The line and the cells by column of each row.

    Raises:
        TableError: As of `read_table`, for a row when it is taken.
    """
    lines = cells_by_line(_streamed(path), path, TableError)
    yield from _with_header(lines, path, TableError, needed)[1]


def _streamed(path: Path) -> Iterator[str]:
    require_file(path, TableError)
    with reading(path, TableError), path.open(encoding="utf-8-sig", newline="") as file:
        yield from file


def _with_header(
    lines: Iterator[tuple[int, list[str]]],
    path: Path,
    error: type[FileError],
    needed: Sequence[str],
    *,
    exact: bool = False,
    index: str = "",
) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """Take the header off; return its names, and the line and cells of each row."""
    _, header = next(lines, (0, []))
    columns = [name.strip() or ("" if place else index) for place, name in enumerate(header)]
    if not any(columns):
        raise error(path, "the table is empty")
    _require_distinct(columns, path, error, exact=exact)
    if missing := [name for name in needed if name not in columns]:
        found = ", ".join(filter(None, columns))
        raise error(path, f"lacks the columns {', '.join(missing)}; found: {found}")
    return [name for name in columns if name], _by_column(lines, columns, path, error)


def _by_column(
    lines: Iterator[tuple[int, list[str]]],
    columns: Sequence[str],
    path: Path,
    error: type[FileError],
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the cells of each row by column."""
    least = max(place for place, name in enumerate(columns, start=1) if name)
    for line, cells in lines:
        if not least <= len(cells) <= len(columns):
            raise error(
                path,
                f"line {line} has {len(cells)} cells, the header {len(columns)}",
                hint="put quotes around a cell that holds the separator; leave no separator out",
            )
        stripped = [cell.strip() for cell in cells]
        if stripped == columns:
            raise error(path, f"line {line} repeats the header", hint="take the line out")
        pairs = zip(columns, stripped, strict=False)  # nameless columns at the end may be missing
        yield line, {name: cell for name, cell in pairs if name}


def _rows(
    path: Path, error: type[FileError], delimiter: str | None, *, multiline: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row that is not blank, of a text or a workbook."""
    content = read_bytes(path, error)
    if is_workbook(content):
        return sheet_rows(content, path, error, multiline=multiline)
    text = decoded(content, path, error, table=True)
    if said := _EXCELS_SEPARATOR.match(text):
        delimiter, text = delimiter or said[1], text[said.end() :]
    delimiter = delimiter or _delimiter(text)
    return cells_by_line(lines_of(text), path, error, delimiter=delimiter, multiline=multiline)


def cells_by_line(
    lines: Iterable[str],
    path: Path,
    error: type[FileError],
    *,
    delimiter: str = ",",
    multiline: bool = False,
) -> Iterator[tuple[int, list[str]]]:
    """Cut lines into the cells of each row that is not blank, with the line on which it begins.

    Args:
        lines: The table with its line ends (`tcssa.files.text.lines_of`), and with or without a
            header.
        path: The file, named in errors.
        error: Type of the error to raise.
        delimiter: The separator of cells.
        multiline: Whether a quoted cell may hold line ends. If not, a quote after spaces at a
            cell's begin is a fault too: it would not be read as a quote.

    Raises:
        FileError: Of the type ``error``; a quote is not closed or out of place, a cell holds a line
            end though none is allowed, or a row begins with a byte-order mark.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    begin = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as fault:
            reason = f"line {begin}: is no row of a table ({fault})"
            raise error(path, reason, hint="look for a quote that is not closed") from None
        if cells is None:
            return
        joined = "".join(cells)
        if not multiline and (reader.line_num > begin or '"' in joined):
            _require_plain(cells, begin, reader.line_num, path, error)
        if joined.startswith(_BYTE_ORDER_MARK):
            reason = f"line {begin} begins with a byte-order mark, as another file does"
            raise error(path, reason, hint="join tables without their marks and headers")
        if joined.strip(_BLANK):
            yield begin, cells
        begin = reader.line_num + 1


def plain_name(column: str) -> str:
    """Reduce a column's name, by which it is found: no case, spaces, ``_`` or ``-``."""
    return re.sub(r"[\s_-]", "", column).lower()


def numbers(cells: Sequence[str]) -> list[float]:
    """Read cells as numbers; NaN and infinity are numbers too.

    Raises:
        ValueError: A cell is no number, or is spelt as in no table: ``float`` also takes ``1_000``
            for a thousand, and the digits of every script.
    """
    joined = "".join(cells)
    if not joined.isascii() or "_" in joined:
        odd = next(cell for cell in cells if not cell.isascii() or "_" in cell)
        raise ValueError(f"{odd!r} is no number")
    try:
        return [float(cell) for cell in cells]
    except ValueError as fault:
        odd = str(fault).removeprefix("could not convert string to float: ")
        comma = " (write a point for the decimal comma)" if _DECIMAL_COMMA.search(odd) else ""
        raise ValueError(f"{odd} is no number{comma}") from None


def number(cell: str) -> float:
    """Read one cell as a number; see `numbers`."""
    return numbers([cell])[0]


def _delimiter(text: str) -> str:
    header = next((line for line in lines_of(text) if line.strip(_BLANK)), "")
    bare = re.sub(r'"[^"]*("|$)', "", header.rstrip("\r\n"))  # a quoted name may hold any of them
    return next((mark for mark in "\t;" if mark in bare), ",")


def _require_distinct(
    columns: Sequence[str], path: Path, error: type[FileError], *, exact: bool
) -> None:
    if len(columns) > _MAX_COLUMNS:
        raise error(path, f"has {len(columns):,} columns, and at most {_MAX_COLUMNS:,} are read")
    seen: dict[str, str] = {}
    for name in filter(None, columns):
        plain = name if exact else plain_name(name)
        if plain in seen:
            raise error(
                path,
                f"the columns {seen[plain]!r} and {name!r} cannot be told apart",
                hint="rename one of them, or take it out",
            )
        seen[plain] = name


def _require_plain(
    cells: Sequence[str], begin: int, end: int, path: Path, error: type[FileError]
) -> None:
    """Require that a row ends on its line, and that none of its quotes is taken for text."""
    reason = None
    if end > begin:
        reason = f"line {begin}: a cell goes on over the end of the line"
    elif any(re.match(r'\s+"', cell) for cell in cells):
        reason = f"line {begin}: a quote stands behind a space, where it is read as text"
    if reason:
        raise error(path, reason, hint="look for a quote that is not closed, or out of place")
