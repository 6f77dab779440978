"""What can be wrong with a file of JSON: as bytes, as a thing on the disk, and in its values."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tcssa.errors import FileError, TcssaError

NESTED = "[" * 5000 + "]" * 5000


def _as_folder(path: Path, content: bytes) -> None:
    path.mkdir()


def _as_pipe(path: Path, content: bytes) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(path)


def _as_loop(path: Path, content: bytes) -> None:
    path.symlink_to(path.name)


def _without_permission(path: Path, content: bytes) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.write_bytes(content)
    path.chmod(0)


def _written(change: Callable[[bytes], bytes]) -> Callable[[Path, bytes], None]:
    return lambda path, content: path.write_bytes(change(content)) and None


DAMAGES: dict[str, Callable[[Path, bytes], None]] = {
    "empty": _written(lambda content: b" "),
    "cut": _written(lambda content: content[: len(content) // 2]),
    "of another kind": _written(lambda content: b"\x89HDF\r\n\x1a\n" + content),
    "in UTF-16": _written(lambda content: content.decode().encode("utf-16")),
    "with a NUL": _written(lambda content: content.replace(b"{", b"{\0", 1)),
    "a list": _written(lambda content: b"[" + content + b"]"),
    "a number": _written(lambda content: b"7"),
    "an empty object": _written(lambda content: b"{}"),
    "deeply nested": _written(lambda content: b'{"x": ' + NESTED.encode() + b"}"),
    "a name twice": _written(lambda content: content.replace(b"{", b'{"x": 1, "x": 2, ', 1)),
    "a folder": _as_folder,
    "a pipe": _as_pipe,
    "a loop of links": _as_loop,
    "closed to us": _without_permission,
}
"""From a path, where nothing stands, and sound content to a damaged file. None of them is sound."""

VALUES: list[Any] = [None, True, -1, 10**12, 10**400, 1e308, "", "../../x", "x" * 400, [], [[]], {}]
"""What a value of a file may be replaced by."""


def changed_values(content: Any, per_place: list[Any] | None = None) -> Iterator[tuple[str, Any]]:
    """Every place of some JSON with every other value in turn, and without it."""
    for place in _places(content):
        for value in VALUES if per_place is None else per_place:
            copy = json.loads(json.dumps(content))
            inner = _inner(copy, place[:-1])
            inner[place[-1]] = value
            yield f"{'.'.join(map(str, place))} = {str(value)[:20]!r}", copy
        if isinstance(place[-1], str):
            copy = json.loads(json.dumps(content))
            inner = _inner(copy, place[:-1])
            inner[""] = inner.pop(place[-1])
            yield f"{'.'.join(map(str, place))} without its name", copy
        copy = json.loads(json.dumps(content))
        del _inner(copy, place[:-1])[place[-1]]
        yield f"without {'.'.join(map(str, place))}", copy


def _inner(content: Any, place: tuple[Any, ...]) -> Any:
    for name in place:
        content = content[name]
    return content


def _places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(content, dict):
        pairs: list[tuple[Any, Any]] = list(content.items())
    elif isinstance(content, list):
        pairs = list(enumerate(content))[:2]  # the others are alike
    else:
        return
    for name, value in pairs:
        yield (*place, name)
        yield from _places(value, (*place, name))


def require_one_line(error: TcssaError, path: Path) -> None:
    """An error as a user sees it: one short line that names the file, or its folder."""
    message = str(error)
    assert len(message) <= 300
    assert message.isprintable()
    assert isinstance(error, FileError)
    assert path.name in message or path.parent.name in message
