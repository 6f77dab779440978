"""Pages of a TIFF, read in pieces: any region of any page, tiles and strips decoded one by one.

A piece is wrapped into a TIFF of its own, which Pillow decodes, so no page is ever held whole.
"""

from __future__ import annotations

import io
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import TiffImageFile

from tcssa.files.boundary import UnsoundError
from tcssa.files.tiff import TiffWalk
from tcssa.files.tiff_strip import one_strip

COMPRESSIONS = {
    1: "none", 5: "LZW", 7: "JPEG", 8: "Deflate", 32946: "Deflate", 32773: "PackBits",
    34925: "LZMA", 50000: "Zstandard",
}  # fmt: skip
"""What Pillow decodes of the compressions of a TIFF."""
OTHER_COMPRESSIONS = {
    6: "old JPEG", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC",
    34892: "lossy DNG", 34933: "PNG", 34934: "JPEG XR", 50001: "WebP", 50002: "JPEG XL",
    22610: "JPEG XR",
}  # fmt: skip
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION = 256, 257, 258, 259, 262, 270
_STRIPS, _SAMPLES, _ROWS, _STRIP_BYTES, _X, _Y, _PLANAR = 273, 277, 278, 279, 282, 283, 284
_UNIT, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 296, 317, 322, 323, 324, 325
_INNER, _EXTRA, _FORMAT, _TABLES, _SUBSAMPLING = 330, 338, 339, 347, 530
_COPIED = (_PREDICTOR, _EXTRA, _TABLES, _SUBSAMPLING)
_READ = (_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION, _STRIPS, _SAMPLES,
         _ROWS, _STRIP_BYTES, _X, _Y, _PLANAR, _UNIT, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES,
         _TILE_BYTES, _INNER, _EXTRA, _FORMAT, _TABLES, _SUBSAMPLING)  # fmt: skip
_KINDS = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 7: "u1", 13: "u4", 16: "u8", 18: "u8", 5: "u8"}
"""Types in a TIFF as numpy's; a fraction is two numbers of four bytes."""
_RATIONAL_TAGS = (_X, _Y)
_GREYS, _RGB, _YCBCR = (0, 1), 2, 6
_UM_OF_UNIT = {2: 25_400.0, 3: 10_000.0}  # inch, centimetre
_RAW, _RAW_ROWS = 1, 256
_MAX_PAGES = 10_000
_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class TiffPage:
    """One picture of a TIFF, and smaller copies of it where it has such.

    Attributes:
        tags: Values by tag; texts and tables as bytes.
        inner: Pages that belong to it, usually the lower levels of a pyramid.
    """

    tags: Mapping[int, NDArray[Any]] = field(repr=False)
    inner: tuple[TiffPage, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self._number(_WIDTH), self._number(_HEIGHT)

    @property
    def num_pixels(self) -> int:
        """Width times height."""
        return math.prod(self.size)

    @property
    def samples(self) -> int:
        """Samples per pixel: 1 of a grey page, 3 of one in colour, 4 with transparency."""
        return self._number(_SAMPLES, 1)

    @property
    def is_tiled(self) -> bool:
        """True if it is stored in tiles, False if in strips."""
        return _TILE_WIDTH in self.tags

    @property
    def compression(self) -> int:
        """Number of the compression."""
        return self._number(_COMPRESSION, _RAW)

    @property
    def is_colour(self) -> bool:
        """True if its pixels are red, green and blue."""
        return self.samples >= 3 and self._number(_PHOTOMETRIC) in (_RGB, _YCBCR)

    @property
    def description(self) -> str:
        """Text about the page, empty if there is none."""
        text = self.tags.get(_DESCRIPTION, np.empty(0, np.uint8)).tobytes()
        return text.rstrip(b"\0").decode("utf-8", "replace")

    @property
    def mpp(self) -> tuple[float, float] | None:
        """µm per pixel along x and y, None if they are not stated."""
        unit, found = _UM_OF_UNIT.get(self._number(_UNIT, 2)), []
        for tag in _RATIONAL_TAGS:
            if unit is None or not len(fraction := self.tags.get(tag, np.empty(0))):
                return None
            above, below = fraction[:1].view(f"{fraction.dtype.str[0]}u4").tolist()
            if not (above > 0 and below > 0):
                return None
            found.append(unit * below / above)
        return found[0], found[1]

    def why_unread(self) -> str | None:
        """Return why its pixels cannot be read here, None if they can."""
        bits = {*self.tags.get(_BITS, np.array([1])).tolist()}
        if bits != {8} or {*self.tags.get(_FORMAT, np.array([1])).tolist()} != {1}:
            return f"its pixels have {max(bits)} bits a colour"
        if self.compression not in COMPRESSIONS:
            return compression_text(self.compression)
        if self._number(_PHOTOMETRIC) not in (*_GREYS, _RGB, _YCBCR) or self.samples not in (
            1,
            3,
            4,
        ):
            return f"its {self.samples} samples a pixel are no grey and no RGB"
        return None

    @property
    def piece_bytes(self) -> int:
        """Bytes of a tile or strip, decoded."""
        return math.prod(self._piece_size) * self.samples

    def read(self, source: TiffPieces, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        """Read a window that lies within the page.

        Args:
            source: The open file.
            x0: Left edge.
            y0: Top edge.
            x1: Right edge, exclusive.
            y1: Bottom edge, exclusive.

        Returns:
            Pixels ``[h, w, samples]``.
        """
        width, height = self._piece_size
        found = np.zeros((y1 - y0, x1 - x0, self.samples), np.uint8)
        for row in range(y0 // height, -(-y1 // height)):
            for column in range(x0 // width, -(-x1 // width)):
                piece = self._piece(source, column, row)
                left, top = column * width, row * height
                ax, ay = max(x0, left), max(y0, top)
                bx, by = min(x1, left + piece.shape[1]), min(y1, top + piece.shape[0])
                found[ay - y0 : by - y0, ax - x0 : bx - x0] = piece[
                    ay - top : by - top, ax - left : bx - left
                ]
        return found

    @cached_property
    def _piece_size(self) -> tuple[int, int]:
        """Width and height of a tile or strip; strips of raw bytes are cut into lower ones."""
        width, height = self.size
        if self.is_tiled:
            return self._number(_TILE_WIDTH), self._number(_TILE_HEIGHT)
        rows = min(self._number(_ROWS, height), height)
        return width, min(rows, _RAW_ROWS) if self._is_cut(rows) else rows

    def _is_cut(self, rows: int) -> bool:
        return self.compression == _RAW and rows >= self.size[1]

    def _piece(self, source: TiffPieces, column: int, row: int) -> NDArray[np.uint8]:
        """Decode a tile or strip, ``[h, w, samples]``."""
        width, height = self._piece_size
        across = -(-self.size[0] // width)
        down = -(-self.size[1] // height)
        index = row * across + column
        if not self.is_tiled:
            height = min(height, self.size[1] - row * height)
        if self._number(_PLANAR, 1) == 1:
            return source.decoded(self, index, width, height, self.samples)
        planes = [
            source.decoded(self, plane * across * down + index, width, height, 1)
            for plane in range(self.samples)
        ]
        return np.concatenate(planes, axis=2)

    def place(self, index: int, samples: int) -> tuple[int, int]:
        """Return where a piece begins in the file, and its bytes."""
        places = self.tags[_TILES if self.is_tiled else _STRIPS]
        lengths = self.tags[_TILE_BYTES if self.is_tiled else _STRIP_BYTES]
        height = self.size[1]
        if self.is_tiled or not self._is_cut(min(self._number(_ROWS, height), height)):
            return int(places[index]), int(lengths[index])
        rows = self._piece_size[1]
        down = -(-height // rows)
        plane, row = divmod(index, down)
        line = self.size[0] * samples
        return int(places[plane]) + row * rows * line, min(rows, height - row * rows) * line

    def _number(self, tag: int, usual: int = 0) -> int:
        return max(self.tags[tag].tolist(), default=usual) if tag in self.tags else usual


class TiffPieces:
    """An open TIFF, whose decoded tiles and strips are kept up to a bound; threads may share it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._pieces: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def decoded(
        self, page: TiffPage, index: int, width: int, height: int, samples: int
    ) -> NDArray[np.uint8]:
        """Return the pixels of a tile or strip, ``[height, width, samples]``."""
        key = (id(page), index)
        with self._lock:
            if key in self._pieces:
                self._pieces.move_to_end(key)
                return self._pieces[key]
        begin, num_bytes = page.place(index, samples)
        if num_bytes == 0:  # it was not scanned
            return np.full((height, width, samples), 255, np.uint8)
        with self._lock:
            os.lseek(self._file, begin, os.SEEK_SET)
            content = os.read(self._file, num_bytes)
        if len(content) < num_bytes:
            raise UnsoundError("is a TIFF that is cut short")
        pixels = _decoded(page, content, width, height, samples)
        with self._lock:
            if key not in self._pieces:
                self._pieces[key] = pixels
                self._num_bytes += pixels.nbytes
            while self._num_bytes > _CACHE_BYTES and len(self._pieces) > 1:
                self._num_bytes -= self._pieces.popitem(last=False)[1].nbytes
        return pixels

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_pages(path: Path) -> list[TiffPage]:
    """Read the directories of a TIFF, without any pixels.

    Args:
        path: A TIFF that `tcssa.files.tiff.require_sound_tiff` accepts.

    Raises:
        UnsoundError: The directories are broken.
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        walk = TiffWalk(stream)
        seen: set[int] = set()

        def page_at(offset: int, depth: int) -> tuple[TiffPage, int]:
            if offset in seen or len(seen) > _MAX_PAGES or depth > 1:
                raise UnsoundError("is a TIFF whose directories run in a circle or are too many")
            seen.add(offset)
            entries, following = walk.entries(offset, _READ, _KINDS)
            tags = dict(entries)
            inner = [int(place) for place in tags.get(_INNER, ()) if place] if depth == 0 else []
            return TiffPage(tags, tuple(page_at(place, 1)[0] for place in inner)), following

        pages, offset = list[TiffPage](), walk.first
        while offset:
            page, offset = page_at(offset, 0)
            pages.append(page)
    return pages


def compression_text(number: int) -> str:
    """Say in words that a compression is not read."""
    name = OTHER_COMPRESSIONS.get(number)
    return f"its compression {number}{f' ({name})' if name else ''} is not read"


def _decoded(
    page: TiffPage, content: bytes, width: int, height: int, samples: int
) -> NDArray[np.uint8]:
    """Decode a tile or strip through a TIFF that holds nothing else."""
    photometric = int(page.tags[_PHOTOMETRIC][0]) if samples > 1 or page.samples == 1 else 1
    tags: dict[int, Sequence[int] | bytes] = {
        _WIDTH: [width], _HEIGHT: [height], _BITS: [8] * samples,
        _COMPRESSION: [page.compression], _PHOTOMETRIC: [photometric], _STRIPS: [0],
        _SAMPLES: [samples], _ROWS: [height], _STRIP_BYTES: [len(content)], _PLANAR: [1],
    }  # fmt: skip
    for tag in _COPIED:
        if tag in page.tags and (tag != _EXTRA or samples > 3):
            value = page.tags[tag]
            tags[tag] = value.tobytes() if tag == _TABLES else value.tolist()
    with TiffImageFile(io.BytesIO(one_strip(tags, content))) as image:
        mode = "L" if samples == 1 else "RGB" if samples == 3 else "RGBA"
        pixels = np.asarray(image if image.mode == mode else image.convert(mode), np.uint8)
    return pixels.reshape(height, width, samples)
