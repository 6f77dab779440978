"""Tiffslide: tiled TIFF whose compression OpenSlide lacks (JPEG XL, WebP, LZMA, LERC, ...).

An optional extra. It decodes through tifffile and imagecodecs.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tcssa.files.boundary import UnsoundError
from tcssa.files.tiff import TIFF_MAGICS, is_whole_tiff
from tcssa.optional import require
from tcssa.slides.readers.protocol import starts_with, white_outside

_WITH_A_HEAD = (6, 7, 33003, 33004, 33005, 34712, 34892, 34927, 34933, 50001)
"""Compressions, by their numbers in a TIFF, whose tiles state a size of their own, which Pillow
reads: JPEG, JPEG 2000, WebP and PNG."""


_FORMATS = ("JPEG", "JPEG2000", "WEBP", "PNG")


class TiffSlideReader:
    """See `SlideReader`."""

    name = "tiffslide"

    def accepts(self, path: Path) -> bool:
        """See `SlideReader.accepts`: a tiled TIFF; a flat one is a plain image."""
        if not starts_with(path, *TIFF_MAGICS) or not is_whole_tiff(path):
            return False
        try:
            import tiffslide
            from tifffile import TiffFile
        except ImportError:  # no extra, no such reader
            return False
        try:
            with TiffFile(path) as tiff:
                pages: list[Any] = list(tiff.pages)  # its types do not tell pages from frames
                tiled = bool(pages[0].is_tiled) and all(map(_has_its_tiles, pages))
            if tiled:
                tiffslide.TiffSlide(path).close()
        except MemoryError:
            raise
        except Exception:  # tifffile raises whatever a broken directory leads it into
            return False
        return tiled

    def open(self, path: Path) -> TiffSlideBackend:
        """See `SlideReader.open`."""
        tiffslide: Any = require("tiffslide", "tiffslide")
        with ExitStack() as held:
            handle = held.enter_context(tiffslide.TiffSlide(path))
            for series in handle.ts_tifffile.series:
                for level in series.levels:
                    _bound_tiles(level.keyframe)
            backend = TiffSlideBackend(handle)
            held.pop_all()  # it stays open where nothing was raised
        return backend


def _has_its_tiles(page: Any) -> bool:
    """Tell whether all tiles lie within the file: it may be cut short after its directories."""
    ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))
    return bool(max(ends, default=0) <= page.parent.filehandle.size)


def _bound_tiles(page: Any) -> None:
    """Let a page's tiles be decoded only if they are no larger than its directory says.

    A decoder allocates memory for whatever size the tile itself states.
    """
    if page.compression not in _WITH_A_HEAD:
        return
    decode: Callable[..., Any] = page.decode  # kept by the page once it is made
    most = (page.tilewidth or page.imagewidth, page.tilelength or page.imagelength)

    def bounded(data: bytes | None, *place: Any, **tables: Any) -> Any:
        if data is not None:
            head = tables.get("jpegheader") or b""  # which tiles of NDPI lack
            _require_size(head + data, most)
        return decode(data, *place, **tables)

    page.decode = bounded


def _require_size(tile: bytes, most: tuple[int, int]) -> None:
    """Require that a compressed tile states no size beyond its directory's.

    Raises:
        UnsoundError: The tile states a larger size, or none.
    """
    try:
        with Image.open(io.BytesIO(tile), formats=_FORMATS) as head:
            size = head.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise UnsoundError("a tile has no sound head") from None
    if size[0] > most[0] or size[1] > most[1]:
        raise UnsoundError(f"a tile states {list(size)} pixels, its directory {list(most)}")


class TiffSlideBackend:
    """See `SlideBackend`."""

    def __init__(self, handle: Any) -> None:  # an optional package without types
        self._handle = handle
        self.level_dimensions: tuple[tuple[int, int], ...] = tuple(
            (int(width), int(height)) for width, height in handle.level_dimensions
        )
        self.level_downsamples: tuple[float, ...] = tuple(map(float, handle.level_downsamples))

    @property
    def mpp(self) -> tuple[float, float] | None:
        """See `SlideBackend.mpp`."""
        mpp_x, mpp_y = self._number("tiffslide.mpp-x"), self._number("tiffslide.mpp-y")
        return None if mpp_x is None or mpp_y is None else (mpp_x, mpp_y)

    @property
    def objective_power(self) -> float | None:
        """See `SlideBackend.objective_power`."""
        return self._number("tiffslide.objective-power")

    def read_region(self, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
        """See `SlideBackend.read_region`; to the nearest pixel of the level."""
        downsample = self.level_downsamples[level]

        def read(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
            """See `white_outside`."""
            # what it is given is divided by the downsample and cut off: half a pixel more rounds
            corner = (int((x0 + 0.5) * downsample), int((y0 + 0.5) * downsample))
            region = self._handle.read_region(corner, level, (x1 - x0, y1 - y0), as_array=True)
            if region.dtype != np.uint8:
                raise ValueError(f"its pixels are {region.dtype}, not uint8")
            return np.asarray(region)

        left, top = round(x / downsample), round(y / downsample)
        return white_outside(left, top, width, height, self.level_dimensions[level], read)

    def close(self) -> None:
        """See `SlideBackend.close`."""
        self._handle.close()

    def _number(self, key: str) -> float | None:
        try:
            value = float(self._handle.properties.get(key) or "nan")
        except ValueError:
            return None
        return value if math.isfinite(value) and value > 0 else None
