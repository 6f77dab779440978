"""Objects opened as files that can seek, without copying them.

What is asked of a container lies mostly at its ends, where it tells what it holds. Both ends of an
object are fetched at once; where placeholders of a folder are opened in the order of their names,
those of the following ones come with them.
"""

from __future__ import annotations

import io
import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_END_BYTES = 1 << 15
_AHEAD = 64
"""Objects whose ends are fetched at once; what follows within so many names counts as in order."""

Parts = list[tuple[int, bytes]]
"""Bytes of a file, each piece with where it begins."""


@dataclass
class _Folder:
    """Placeholders of a folder that may be opened, and parts of their objects."""

    names: list[str] = field(default_factory=list)
    """Paths in the order in which they may be opened."""
    last: int | None = None
    """Place of the last one whose ends were fetched."""
    ends: dict[str, tuple[tuple[int, int], Parts]] = field(default_factory=dict)
    """What was fetched, with the stamp of the placeholder that it was fetched for."""


class ObjectReader:
    """Opens the objects that placeholders stand for; threads may share it.

    Args:
        files: The file system.
        key_of: Returns the key of a placeholder.
    """

    def __init__(self, files: Any, key_of: Callable[[Path], str]) -> None:
        self._files, self._key_of = files, key_of
        self._folders: dict[str, _Folder] = {}
        self._fetching = threading.Lock()

    def expect(self, paths: Iterable[Path]) -> None:
        """Expect that placeholders are opened, those of a folder in the order of their names."""
        with self._fetching:
            for name in sorted(map(str, paths)):
                names = self._folder_of(name).names
                place = bisect_left(names, name)
                if names[place : place + 1] != [name]:
                    names.insert(place, name)

    def open(self, path: Path) -> ObjectFile:
        """Open the object of a placeholder.

        Raises:
            OSError: It cannot be read.
        """
        name, now = str(path), path.stat()
        with self._fetching:
            folder = self._folder_of(name)
            stamp, parts = folder.ends.pop(name, (None, []))
            if stamp != _stamp(now):
                self._fetch(name, folder)
                _, parts = folder.ends.pop(name)
        key = self._key_of(path)

        def fetch(begin: int, end: int) -> bytes:
            content: bytes = self._files.cat_file(key, start=begin, end=end)
            return content

        return ObjectFile(fetch, now.st_size, parts)

    def _folder_of(self, name: str) -> _Folder:
        return self._folders.setdefault(name.rpartition(os.sep)[0], _Folder())

    def _fetch(self, name: str, folder: _Folder) -> None:
        """Fetch the ends of an object, and of those that are likely to be opened next."""
        place = bisect_left(folder.names, name)
        in_order = folder.last is not None and 0 < place - folder.last <= _AHEAD
        ahead = _AHEAD if in_order else 1
        names = dict.fromkeys([name, *folder.names[place : place + ahead]])
        folder.last = place + len(names) - 1
        stats = {each: Path(each).stat() for each in names if Path(each).is_file()}
        wanted = [(each, *ends) for each in stats for ends in _ends_of(stats[each].st_size)]
        found = self._files.cat_ranges(
            [self._key_of(Path(each)) for each, _, _ in wanted],
            [begin for _, begin, _ in wanted],
            [end for _, _, end in wanted],
            on_error="return",
        )
        fetched: dict[str, Parts] = {each: [] for each in stats}
        for (each, begin, _), content in zip(wanted, found, strict=True):
            if not isinstance(content, Exception):
                fetched[each].append((begin, content))
            elif each == name:
                raise content
        folder.ends = {each: (_stamp(stats[each]), parts) for each, parts in fetched.items()}


class ObjectFile(io.RawIOBase):
    """An object as a file.

    Args:
        fetch: Returns the bytes between two places.
        num_bytes: Its size.
        ends: Bytes that are known.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], num_bytes: int, ends: Parts) -> None:
        super().__init__()
        self._fetch, self._size, self._ends = fetch, num_bytes, ends
        self._latest: Parts = []
        self._at = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can seek."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place; see `io.IOBase.seek`."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer, or as much of it as there are bytes left."""
        stop = min(self._at + len(buffer), self._size)
        if stop <= self._at:
            return 0
        content = self._bytes(self._at, stop)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def _bytes(self, start: int, stop: int) -> bytes:
        for begin, known in (*self._ends, *self._latest):
            if begin <= start and stop <= begin + len(known):
                return known[start - begin : stop - begin]
        begin = max(0, start - _END_BYTES // 2)  # what is asked for next may lie before it
        content = self._fetch(begin, min(max(stop, begin + _END_BYTES), self._size))
        self._latest = [(begin, content)]
        return content[start - begin : stop - begin]


def _ends_of(num_bytes: int) -> list[tuple[int, int]]:
    if num_bytes <= 2 * _END_BYTES:
        return [(0, num_bytes)] if num_bytes else []  # no range of nothing can be asked for
    return [(0, _END_BYTES), (num_bytes - _END_BYTES, num_bytes)]


def _stamp(stat: os.stat_result) -> tuple[int, int]:
    """Return what no other placeholder at the same path has."""
    return stat.st_ino, stat.st_ctime_ns
