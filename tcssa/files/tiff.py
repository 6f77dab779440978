"""Directories of a TIFF, walked before a library sees the file.

Libraries read the first levels of a file that was cut short in silence, go round in circles, and
take memory for whatever tile a directory claims.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from tcssa.errors import FileError, TcssaError
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.limits import TILE_BYTES, TILE_SIDE

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF and a BigTIFF, in both orders of bytes."""
_MAX_DIRECTORIES = 10_000
_MAX_ENTRIES = 1_000_000
_RGBA_BYTES = 4  # as which OpenSlide decodes, whatever the samples
_TILE_BYTES_A_BYTE, _MOST_TILE_BYTES = 200, 2**30
"""Of a tile, for each byte of the file: a small one must not take a gigabyte."""
_VALUE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Of the types of values, where a value takes more than one byte."""
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_BITS, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT, _INNER, _NDPI = 258, 277, 322, 323, 330, 65420
_READ = (_BITS, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT, _INNER, _NDPI)

Directory = Mapping[int, tuple[int, ...]]
"""Values by tag, of the tags that are looked at."""


def is_whole_tiff(path: Path) -> bool:
    """Whether all directories of a TIFF or BigTIFF lie within the file."""
    try:
        for _ in directories(path):
            pass
    except (OSError, TcssaError, UnsoundError):
        return False
    return True


def require_sound_tiff(path: Path, error: type[FileError]) -> None:
    """Require that a TIFF is whole, and that its tiles can be held in memory.

    Strips are not bounded: OpenSlide decodes none for the levels of a slide, and a picture's
    pixels are counted in `tcssa.files.picture`.

    Args:
        path: A TIFF.
        error: What to raise.

    Raises:
        FileError: Of the type ``error``; the file is cut short, or a tile is too large.
    """
    with reading(path, error, hint="compare its size with the original, or copy it again"):
        earned = min(_TILE_BYTES_A_BYTE * path.stat().st_size, _MOST_TILE_BYTES)
        for directory in directories(path):
            width, height, samples, bits = (
                max(directory.get(tag) or (usual,))
                for tag, usual in ((_TILE_WIDTH, 0), (_TILE_HEIGHT, 0), (_SAMPLES, 1), (_BITS, 1))
            )
            TILE_SIDE.require(max(width, height), path, error)
            tile_bytes = width * height * max(_RGBA_BYTES, samples * -(-bits // 8))
            TILE_BYTES.require(tile_bytes, path, error, earned=earned)


def directories(path: Path) -> Iterator[Directory]:
    """Yield the directories of a TIFF or BigTIFF, inner ones too.

    Raises:
        UnsoundError: The file is cut short, a chain of directories bites its own tail, or a tag
            claims more bytes than the file has.
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        walk = _Walk(stream)
        pending, seen = [walk.first], set()
        while pending:
            offset = pending.pop()
            if offset in seen:
                raise UnsoundError("is a TIFF whose directories run in a circle")
            seen.add(offset)
            if len(seen) > _MAX_DIRECTORIES:
                raise UnsoundError(f"is a TIFF of more than {_MAX_DIRECTORIES:,} directories")
            directory, following = walk.directory(offset)
            pending += [inner for inner in directory.get(_INNER, ()) if inner]
            pending += [following] if following else []
            yield directory


class _Walk:
    """An open TIFF, and the layout of its directories."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._size = stream, os.fstat(stream.fileno()).st_size
        self._num_entries = 0
        head = self._at(0, 16 if self._size >= 16 else 8)
        self._order = "<" if head[:2] == b"II" else ">"
        self._is_big = head[2:4] in (b"+\0", b"\0+")
        self._offset_code = "Q" if self._is_big else "I"
        (self.first,) = struct.unpack_from(
            self._order + self._offset_code, head.ljust(16, b"\0"), 8 if self._is_big else 4
        )
        if not self._is_big and self._is_ndpi(head):
            self._offset_code = "Q"

    def _is_ndpi(self, head: bytes) -> bool:
        """NDPI is a classic TIFF whose offsets of directories have eight bytes."""
        (first,) = struct.unpack_from(self._order + "Q", head.ljust(16, b"\0"), 4)
        try:
            directory, _ = self.directory(first)
        except UnsoundError:
            return False
        self.first = first if _NDPI in directory else self.first
        return _NDPI in directory

    def directory(self, offset: int) -> tuple[Directory, int]:
        """Read one directory, and the offset of the next, 0 where there is none."""
        count_code, entry_bytes, place = ("Q", 20, "Q") if self._is_big else ("H", 12, "I")
        count = self._number(count_code, offset)
        start = offset + struct.calcsize(count_code)
        self._num_entries += count
        if self._num_entries > _MAX_ENTRIES:
            raise UnsoundError(f"is a TIFF of more than {_MAX_ENTRIES:,} tags")
        found: dict[int, tuple[int, ...]] = {}
        entries = self._at(start, count * entry_bytes)
        for tag, kind, number, value in struct.iter_unpack(
            f"{self._order}HH{place}{struct.calcsize(place)}s", entries
        ):
            if number * _VALUE_BYTES.get(kind, 1) > self._size:
                raise UnsoundError(f"is a TIFF whose tag {tag} claims {number:,} values")
            if tag in _READ and kind in _WHOLE_NUMBERS:
                found[tag] = self._values(f"{number}{_WHOLE_NUMBERS[kind]}", value, place)
        return found, self._number(self._offset_code, start + len(entries))

    def _values(self, code: str, value: bytes, place: str) -> tuple[int, ...]:
        """Values of a tag, which stand in the entry itself if they fit."""
        num_bytes = struct.calcsize(self._order + code)
        if num_bytes > len(value):
            value = self._at(struct.unpack(self._order + place, value)[0], num_bytes)
        return struct.unpack_from(self._order + code, value)

    def _number(self, code: str, offset: int) -> int:
        content = self._at(offset, struct.calcsize(code))
        return int(struct.unpack(self._order + code, content)[0])

    def _at(self, offset: int, num_bytes: int) -> bytes:
        if offset + num_bytes > self._size:
            raise UnsoundError("is a TIFF that is cut short")
        self._stream.seek(offset)
        return self._stream.read(num_bytes)
