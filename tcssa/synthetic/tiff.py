"""The container of a pyramid: a TIFF whose tiles are JPEG files already encoded.

tifffile refuses JPEG unless ``imagecodecs`` is installed, even for tiles that are already encoded,
and Pillow writes no tiles; the container itself is small enough to write here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

_SHORT, _LONG, _RATIONAL, _ASCII = 3, 4, 5, 2
_FORMATS = {_SHORT: "H", _LONG: "I", _RATIONAL: "I", _ASCII: "B"}
_JPEG, _YCBCR, _CONTIGUOUS, _CENTIMETRE, _REDUCED = 7, 6, 1, 3, 1


@dataclass(frozen=True)
class JpegLevel:
    """One level of a pyramid.

    Attributes:
        width: Width in pixels of this level.
        height: Height in pixels of this level.
        tile: Side of the square tiles, in pixels.
        mpp: Micrometres per pixel of this level.
        tiles: JPEG files of the tiles, row by row: YCbCr, chroma halved both ways.
    """

    width: int
    height: int
    tile: int
    mpp: float
    tiles: list[bytes]


@dataclass(frozen=True)
class _Tag:
    code: int
    kind: int
    values: tuple[int, ...]

    def packed(self) -> bytes:
        return struct.pack(f"<{len(self.values)}{_FORMATS[self.kind]}", *self.values)

    def entry(self, value: bytes) -> bytes:
        number = len(self.values) // 2 if self.kind == _RATIONAL else len(self.values)
        return struct.pack("<HHI", self.code, self.kind, number) + value.ljust(4, b"\0")


def jpeg_tiff(levels: list[JpegLevel], description: str | None = None) -> bytes:
    """Lay out a pyramid as a classic TIFF; nothing in it depends on when or where it is made.

    Args:
        levels: The levels, largest first.
        description: ASCII text for the image description of level 0, if any.

    Returns:
        The whole file.
    """
    file = bytearray(struct.pack("<2sHI", b"II", 42, 0))
    link = 4
    for number, level in enumerate(levels):
        stored: dict[bytes, int] = {}  # identical tiles are stored once
        offsets = []
        for tile in level.tiles:
            if tile not in stored:
                stored[tile] = _append(file, tile)
            offsets.append(stored[tile])
        tags = _tags(level, offsets, reduced=number > 0)
        if number == 0 and description is not None:
            tags.append(_Tag(270, _ASCII, tuple(description.encode("ascii") + b"\0")))
        link = _append_directory(file, sorted(tags, key=lambda tag: tag.code), link)
    return bytes(file)


def _tags(level: JpegLevel, offsets: list[int], *, reduced: bool) -> list[_Tag]:
    per_centimetre = Fraction(10_000.0 / level.mpp).limit_denominator(10_000)
    resolution = (per_centimetre.numerator, per_centimetre.denominator)
    return [
        _Tag(254, _LONG, (_REDUCED if reduced else 0,)),  # NewSubfileType
        _Tag(256, _LONG, (level.width,)),
        _Tag(257, _LONG, (level.height,)),
        _Tag(258, _SHORT, (8, 8, 8)),  # BitsPerSample
        _Tag(259, _SHORT, (_JPEG,)),  # Compression
        _Tag(262, _SHORT, (_YCBCR,)),  # PhotometricInterpretation
        _Tag(277, _SHORT, (3,)),  # SamplesPerPixel
        _Tag(282, _RATIONAL, resolution),
        _Tag(283, _RATIONAL, resolution),
        _Tag(284, _SHORT, (_CONTIGUOUS,)),  # PlanarConfiguration
        _Tag(296, _SHORT, (_CENTIMETRE,)),  # ResolutionUnit
        _Tag(322, _LONG, (level.tile,)),  # TileWidth
        _Tag(323, _LONG, (level.tile,)),  # TileLength
        _Tag(324, _LONG, tuple(offsets)),  # TileOffsets
        _Tag(325, _LONG, tuple(len(tile) for tile in level.tiles)),  # TileByteCounts
        _Tag(530, _SHORT, (2, 2)),  # YCbCrSubSampling
    ]


def _append(file: bytearray, content: bytes) -> int:
    """Append at the next even offset, as TIFF asks, and return that offset."""
    file.extend(b"\0" * (len(file) % 2))
    offset = len(file)
    file.extend(content)
    return offset


def _append_directory(file: bytearray, tags: list[_Tag], link: int) -> int:
    """Append a directory, point ``link`` at it, and return where its own link is."""
    entries = b""
    for tag in tags:
        value = tag.packed()
        if len(value) > 4:
            value = struct.pack("<I", _append(file, value))
        entries += tag.entry(value)
    offset = _append(file, struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0))
    struct.pack_into("<I", file, link, offset)
    return len(file) - 4
