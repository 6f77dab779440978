"""Directories of a TIFF, walked before a library sees the file.

Libraries silently read the first levels of a file that was cut short, go round in circles, take
memory for whatever tile a directory claims, and read tiles that it does not list as white.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FileError, TcssaError
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.limits import TILE_BYTES, TILE_SIDE

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF and a BigTIFF, in both orders of bytes."""
_MAX_DIRECTORIES = 10_000
_MAX_ENTRIES = 1_000_000
_MAX_SAMPLES = 16
_HEAD_BYTES = 8
_RGBA_BYTES = 4  # as which OpenSlide decodes, whatever the samples
_TILE_BYTES_A_BYTE, _MOST_TILE_BYTES = 200, 2**30
"""Bytes of a tile for each byte of the file, and at most: a small file must not take a gigabyte."""
_VALUE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value by its type, where it takes more than one."""
_WHOLE_NUMBERS = {
    1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"
}  # fmt: skip
_BITS, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT, _INNER, _NDPI = 258, 277, 322, 323, 330, 65420
_WIDTH, _HEIGHT, _STRIP_HEIGHT, _PLANES = 256, 257, 278, 284
_READ = (_WIDTH, _HEIGHT, _BITS, _SAMPLES, _STRIP_HEIGHT, _PLANES, _TILE_WIDTH, _TILE_HEIGHT,
         _INNER, _NDPI)  # fmt: skip
_PLACES, _LENGTHS = (273, 324), (279, 325)
"""Tags of strips and of tiles, of which there can be millions; see `Directory`."""

Directory = Mapping[int, tuple[int, ...]]
"""Values by tag, of the tags that are looked at.

For the places and the lengths of tiles it has two numbers: how many there are, and the largest.
"""


def is_whole_tiff(path: Path) -> bool:
    """Tell whether all directories of a TIFF or BigTIFF lie within the file."""
    try:
        for _ in directories(path):
            pass
    except (OSError, TcssaError, UnsoundError):
        return False
    return True


def require_sound_tiff(path: Path, error: type[FileError]) -> None:
    """Require that a TIFF is whole, lists all of its tiles, and that these can be held in memory.

    Strips are not bounded: OpenSlide decodes none for the levels of a slide, and a picture's
    pixels are counted in `tcssa.files.picture`.

    Args:
        path: A TIFF.
        error: Type of the error to raise.

    Raises:
        FileError: Of the type ``error``; the file is cut short, a tile is too large, or a directory
            has fewer tiles or strips than its picture takes.
    """
    with reading(path, error, hint="compare its size with the original, or copy it again"):
        file_bytes = path.stat().st_size
        earned = min(_TILE_BYTES_A_BYTE * file_bytes, _MOST_TILE_BYTES)
        for directory in directories(path):
            width, height = (_number(directory, tag) for tag in (_TILE_WIDTH, _TILE_HEIGHT))
            samples, bits = (_number(directory, tag, 1) for tag in (_SAMPLES, _BITS))
            TILE_SIDE.require(max(width, height), path, error)
            tile_bytes = width * height * max(_RGBA_BYTES, samples * -(-bits // 8))
            TILE_BYTES.require(tile_bytes, path, error, earned=earned)
            if samples > _MAX_SAMPLES:
                raise UnsoundError(f"is a TIFF of {samples:,} samples a pixel")
            _require_listed(directory, file_bytes)


def require_8_bit_tiff(path: Path, error: type[FileError]) -> None:
    """Require that the largest picture of a TIFF has at most 8 bits a colour.

    Decoders keep the higher 8 bits of 16, so that one of 10 or 12 becomes nearly black.

    Args:
        path: A sound TIFF.
        error: Type of the error to raise.

    Raises:
        FileError: Of the type ``error``; it has more.
    """
    largest = max(directories(path), key=lambda d: _number(d, _WIDTH) * _number(d, _HEIGHT))
    if (bits := _number(largest, _BITS, 1)) > 8:
        raise error(
            path,
            f"its pixels have {bits} bits a colour, and 8 are read",
            hint="convert it to 8 bits a colour",
        )


def _number(directory: Directory, tag: int, usual: int = 0) -> int:
    return max(directory.get(tag) or (usual,))


def _require_listed(directory: Directory, file_bytes: int) -> None:
    """Require that all tiles or strips are listed, none longer than the file or beyond its end.

    One that was left out is listed without a length.

    Raises:
        UnsoundError: Fewer are listed than width and height take; one is longer than the file, for
            which OpenSlide takes memory, or else aborts the process; or one lies beyond the file's
            end, up to where Pillow takes memory.
    """
    width, height = _number(directory, _WIDTH), _number(directory, _HEIGHT)
    across = _number(directory, _TILE_WIDTH) or width
    down = _number(directory, _TILE_HEIGHT) or _number(directory, _STRIP_HEIGHT) or height
    planes = _number(directory, _SAMPLES, 1) if _number(directory, _PLANES) == 2 else 1
    needed = -(-width // max(1, across)) * -(-height // max(1, down)) * planes
    for tags in (_PLACES, _LENGTHS):
        found = [directory[tag] for tag in tags if tag in directory]
        listed = min((number for number, _ in found), default=0)
        if listed < needed and (found or _TILE_WIDTH in directory):
            raise UnsoundError(f"is a TIFF that lists {listed:,} of {needed:,} tiles or strips")
    longest, furthest = (
        max((directory[tag][1] for tag in tags if tag in directory), default=0)
        for tags in (_LENGTHS, _PLACES)
    )
    if longest > file_bytes:
        raise UnsoundError(f"is a TIFF that claims {longest:,} bytes of one tile or strip")
    if furthest > file_bytes:
        raise UnsoundError(f"is a TIFF that is cut short: it claims a tile at {furthest:,}")


def directories(path: Path) -> Iterator[Directory]:
    """Yield the directories of a TIFF or BigTIFF, inner ones too.

    Raises:
        UnsoundError: The file is cut short, its directories run in a circle or are too many, or a
            tag is repeated or claims more bytes than the file has.
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        walk = TiffWalk(stream)
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


class TiffWalk:
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
        """Tell whether this is an NDPI, a classic TIFF with directory offsets of eight bytes."""
        (first,) = struct.unpack_from(self._order + "Q", head.ljust(16, b"\0"), 4)
        try:
            directory, _ = self.directory(first)
        except UnsoundError:
            return False
        self.first = first if _NDPI in directory else self.first
        return _NDPI in directory

    def directory(self, offset: int) -> tuple[Directory, int]:
        """Read one directory, and the offset of the next, 0 where there is none."""
        found: dict[int, tuple[int, ...]] = {}
        entries, following = self.entries(offset, (*_READ, *_PLACES, *_LENGTHS))
        for tag, values in entries:
            if tag in found:  # one library takes the first, another the last
                raise UnsoundError(f"is a TIFF that states its tag {tag} twice")
            if tag in _PLACES or tag in _LENGTHS:
                found[tag] = (len(values), int(values.max(initial=0)))
            else:
                found[tag] = tuple(values.tolist())
        return found, following

    def entries(
        self, offset: int, tags: Container[int], kinds: Mapping[int, str] = _WHOLE_NUMBERS
    ) -> tuple[list[tuple[int, NDArray[Any]]], int]:
        """Read the values of a directory, and the offset of the next, 0 where there is none.

        Args:
            offset: Offset of the directory.
            tags: Tags whose values are read.
            kinds: Their types in the file, and how numpy calls these; others are left out.

        Raises:
            UnsoundError: The file is cut short, or a tag claims more bytes than the file has.
        """
        count_code, entry_bytes, place = ("Q", 20, "Q") if self._is_big else ("H", 12, "I")
        count = self._number(count_code, offset)
        start = offset + struct.calcsize(count_code)
        self._num_entries += count
        if self._num_entries > _MAX_ENTRIES:
            raise UnsoundError(f"is a TIFF of more than {_MAX_ENTRIES:,} tags")
        found: list[tuple[int, NDArray[Any]]] = []
        content = self._at(start, count * entry_bytes)
        for tag, kind, number, value in struct.iter_unpack(
            f"{self._order}HH{place}{struct.calcsize(place)}s", content
        ):
            if number * _VALUE_BYTES.get(kind, 1) > self._size:
                raise UnsoundError(f"is a TIFF whose tag {tag} claims {number:,} values")
            if tag in tags and kind in kinds:
                found.append((tag, self._values(kinds[kind], number, value, place)))
        return found, self._number(self._offset_code, start + len(content))

    def _values(self, code: str, number: int, value: bytes, place: str) -> NDArray[Any]:
        """Return the values of a tag, which stand in the entry itself if they fit."""
        dtype = np.dtype(self._order + code)
        num_bytes = number * dtype.itemsize
        if num_bytes > len(value):
            (start,) = struct.unpack(self._order + place, value)
            if start < _HEAD_BYTES:
                raise UnsoundError("is a TIFF whose tags point into its head")
            value = self._at(start, num_bytes)
        return np.frombuffer(value, dtype, number)

    def _number(self, code: str, offset: int) -> int:
        content = self._at(offset, struct.calcsize(code))
        return int(struct.unpack(self._order + code, content)[0])

    def _at(self, offset: int, num_bytes: int) -> bytes:
        if offset + num_bytes > self._size:
            raise UnsoundError("is a TIFF that is cut short")
        self._stream.seek(offset)
        return self._stream.read(num_bytes)
