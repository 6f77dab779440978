"""The container of a pyramid: a TIFF whose tiles are JPEG files already encoded.

Pillow lays out the directories. It writes no tiles itself, and tifffile refuses JPEG unless
``imagecodecs`` is installed, even for tiles that are already encoded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

_JPEG, _YCBCR, _CONTIGUOUS, _CENTIMETRE = 7, 6, 1, 3


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
        for tile in level.tiles:
            if tile not in stored:
                stored[tile] = _append(file, tile)
        directory = _directory(level, [stored[tile] for tile in level.tiles])
        directory[254] = int(number > 0)  # NewSubfileType: a reduced picture
        if number == 0 and description is not None:
            directory[270] = description
        offset = _append(file, b"")
        file.extend(directory.tobytes(offset))
        struct.pack_into("<I", file, link, offset)
        link = offset + 2 + 12 * len(directory)  # where the next directory's offset stands
    return bytes(file)


def _directory(level: JpegLevel, offsets: list[int]) -> ImageFileDirectory_v2:
    per_centimetre = Fraction(10_000.0 / level.mpp).limit_denominator(10_000)
    directory = ImageFileDirectory_v2(b"II\x2a\x00\0\0\0\0")
    directory[256], directory[257] = level.width, level.height
    directory[258] = (8, 8, 8)  # BitsPerSample
    directory[259], directory[262] = _JPEG, _YCBCR  # Compression, PhotometricInterpretation
    directory[277] = 3  # SamplesPerPixel
    directory[282] = directory[283] = IFDRational(per_centimetre)  # XResolution, YResolution
    directory[284], directory[296] = _CONTIGUOUS, _CENTIMETRE  # PlanarConfiguration, unit
    directory[322] = directory[323] = level.tile  # TileWidth, TileLength
    directory[324] = tuple(offsets)  # TileOffsets
    directory[325] = tuple(len(tile) for tile in level.tiles)  # TileByteCounts
    directory[530] = (2, 2)  # YCbCrSubSampling
    return directory


def _append(file: bytearray, content: bytes) -> int:
    """Append at the next even offset, as TIFF asks, and return that offset."""
    file.extend(b"\0" * (len(file) % 2))
    offset = len(file)
    file.extend(content)
    return offset
