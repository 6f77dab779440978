"""Reading of text and JSON."""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tcssa.errors import FileError
from tcssa.files.boundary import reading, require_file
from tcssa.files.limits import JSON_DEPTH

Model = TypeVar("Model", bound=BaseModel)
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
"""Escapes of which two stand for one character; a text with a single one cannot be written."""
_JSON_NAMES: dict[type, str] = {dict: "an object", list: "a list"}
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAVE_AGAIN = "save it as UTF-8 (in Excel: Save As, CSV UTF-8)"
Top = type[dict[Any, Any] | list[Any]] | tuple[type[dict[Any, Any]], type[list[Any]]]


def read_text(path: Path, error: type[FileError], *, table: bool = False) -> str:
    """Read a file of text; a byte-order mark is left out and line ends stay as they are.

    Args:
        path: The file.
        error: Type of the error to raise.
        table: See `decoded`.

    Raises:
        FileError: Of the type ``error``; the file cannot be read, is no regular file, or is not
            text; see `decoded`.
    """
    return decoded(read_bytes(path, error), path, error, table=table)


def read_bytes(path: Path, error: type[FileError]) -> bytes:
    """Read a regular file whole.

    Args:
        path: The file.
        error: Type of the error to raise.

    Raises:
        FileError: Of the type ``error``; the file cannot be read, or is no regular file.
    """
    require_file(path, error)
    with reading(path, error):
        return path.read_bytes()


def decoded(content: bytes, path: Path, error: type[FileError], *, table: bool = False) -> str:
    """Decode text that stands in a file, which is UTF-8.

    Text in a code page of one country is refused, since its bytes do not say which page it is.

    Args:
        content: Bytes of the text.
        path: The file, named in errors.
        error: Type of the error to raise.
        table: Whether it may be UTF-16 or UTF-32 that begins with its mark, as spreadsheets write.

    Raises:
        FileError: Of the type ``error``; the bytes are no such text. The error says what they may
            be.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8-sig")
    if encoding != "utf-8-sig" and not table:
        reason = f"is not text in UTF-8: it begins as {encoding.upper()} does"
        raise error(path, reason, hint="save it as UTF-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as fault:
        if encoding != "utf-8-sig":
            name = encoding.upper()
            raise error(path, f"is not text in {name}, as its first bytes say") from None
        raise error(path, _foreign(content, fault.start), hint=_SAVE_AGAIN) from None
    if "\0" in text:
        zeros = max(content[1::2].count(0), content[::2].count(0))
        seems = "" if 4 * zeros < len(content) else ": it seems to be UTF-16 without its mark"
        raise error(path, f"is not text in UTF-8{seems}", hint=_SAVE_AGAIN)
    return text


def _foreign(content: bytes, place: int) -> str:
    """Say what bytes may be that are not UTF-8; a page of Windows has no control characters."""
    reason = "is not text in UTF-8"
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        return reason
    if not all(sign.isprintable() or sign in "\t\r\n\xa0\xad" for sign in text):
        return reason
    line = len(re.findall("\r\n|\r|\n", text[:place])) + 1
    word = re.split(r"[,;\t\r\n]", text[:place])[-1] + re.split(r"[,;\t\r\n]", text[place:])[0]
    return f"{reason}: it seems to be Windows-1252, where line {line} has {word.strip()[:40]!r}"


def lines_of(text: str) -> Iterator[str]:
    """Yield the lines of a text with their ends, which are LF, CRLF and CR alone.

    `str.splitlines` ends them at seven other characters too, which may stand within a cell.
    """
    return (found[0] for found in re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text))


def read_json(path: Path, error: type[FileError], *, top: Top) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        error: Type of the error to raise.
        top: What the file must hold at the top: ``dict``, ``list``, or ``(dict, list)`` for either.

    Raises:
        FileError: Of the type ``error``; the file cannot be read, is not valid, is nested too
            deeply, repeats a name, or holds something else at the top.
    """
    return parse_json(read_text(path, error), path, error, top=top)


def parse_json(
    text: str,
    path: Path,
    error: type[FileError],
    *,
    top: Top,
    line: int | None = None,
) -> Any:
    """Parse JSON that stands in a file; see `read_json`.

    Args:
        text: The JSON.
        path: The file, named in errors.
        error: Type of the error to raise.
        top: What the text must hold at the top: ``dict``, ``list``, or ``(dict, list)`` for either.
        line: The line of the file, where each line holds JSON of its own.
    """
    where = "" if line is None else f"line {line}: "
    try:
        content = json.loads(text, object_pairs_hook=_distinct)
        if _HALF_CHARACTER.search(text):
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError:
        raise error(path, f"{where}is JSON that is nested too deeply") from None
    except ValueError as fault:
        raise error(path, f"{where}is not valid JSON ({fault})") from None
    if not isinstance(content, top):
        found = _JSON_NAMES[type(content)] if isinstance(content, dict | list) else "one value"
        wanted = " or ".join(
            _JSON_NAMES[kind] for kind in (top if isinstance(top, tuple) else [top])
        )
        raise error(path, f"{where}must hold {wanted}, holds {found}")
    JSON_DEPTH.require(_depth(content), path, error)
    return content


def read_model(path: Path, error: type[FileError], kind: type[Model]) -> Model:
    """Read a JSON file into a pydantic model.

    Args:
        path: The file.
        error: Type of the error to raise.
        kind: The model to make.

    Raises:
        FileError: Of the type ``error``; see `read_json`, or a value is missing or not valid.
    """
    return validated(read_json(path, error, top=dict), path, error, kind)


def validated(content: Any, path: Path, error: type[FileError], kind: type[Model]) -> Model:
    """Make a pydantic model of what a file holds.

    Args:
        content: The plain data that the file holds.
        path: The file, named in errors.
        error: Type of the error to raise.
        kind: The model to make.

    Raises:
        FileError: Of the type ``error``; a value is missing or not valid. The first is named.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as fault:
        raise error(path, f"is not valid: {first_fault(fault)}") from None


def first_fault(fault: ValidationError) -> str:
    """Name the first value that is not valid, and why."""
    first = fault.errors(include_url=False)[0]
    place = ".".join(str(part)[:40] for part in first["loc"])
    more = f" ({fault.error_count() - 1} more)" if fault.error_count() > 1 else ""
    return f"{place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}{more}"


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of an object's pairs; of a repeated name, json silently keeps the last."""
    content = dict(pairs)
    if len(content) != len(pairs):
        [(repeated, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the name {repeated[:60]!r} stands twice in one object")
    return content


def _depth(content: Any) -> int:
    """Count levels of nesting, without recursion."""
    depth, level = 0, [content]
    while level:
        depth += 1
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
    return depth
