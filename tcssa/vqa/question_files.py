"""Files of questions as lists of rows, whatever is in them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from tcssa.errors import TableError


def read_text(path: Path) -> str:
    """The text of a file, a byte-order mark left out.

    Raises:
        TableError: It cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TableError(path, [f"cannot be read ({error.strerror})"]) from None
    except UnicodeDecodeError:
        raise TableError(path, ["is not a text file"]) from None


def read_json_list(path: Path) -> list[Any]:
    """The elements of a JSON list.

    Raises:
        TableError: The file cannot be read, or holds no list.
    """
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise TableError(path, [f"is not valid JSON ({error})"]) from None
    if not isinstance(content, list):
        raise TableError(path, [f"must hold a list, holds a {type(content).__name__}"])
    return content


def read_csv_rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV file with a header, cells stripped of spaces at both ends.

    Args:
        path: The file.
        needed: Columns that must be there.

    Raises:
        TableError: The file cannot be read, or lacks a column.
    """
    lines = read_text(path).splitlines(keepends=True)
    reader = csv.DictReader(lines, strict=True)
    try:
        rows = [
            {str(key).strip(): (value or "").strip() for key, value in row.items() if key}
            for row in reader
        ]
    except csv.Error as error:
        raise TableError(path, [f"line {reader.line_num}: is not valid CSV ({error})"]) from None
    found = [name.strip() for name in reader.fieldnames or ()]
    missing = [name for name in needed if name not in found]
    if missing:
        raise TableError(
            path, [f"lacks the columns {', '.join(missing)}; found: {', '.join(found) or 'none'}"]
        )
    return rows
