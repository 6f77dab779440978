"""A small picture of a whole slide, made without ever holding a large one.

A slide may have one level only, of 10^10 pixels. So the picture is gathered block by block
from the best level, by a whole-numbered factor: the pixels do not depend on the blocks.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import SlideError
from tcssa.files.limits import OVERVIEW_PIXELS
from tcssa.slides.image.slide import Slide

_BLOCK_PX = 1024
_SMALL_BLOCK_PX = 64
_MAX_ERRORS = 500
"""Errors after which damage is no longer outlined finely: a slide that is all damage must not take
hours."""
_TARGET_UM = 8.0
_MAX_SIDE = 4096
_MIN_SIDE = 384
_PIXELS_A_BYTE = 1000
"""Only empty areas have more pixels per byte of a file; tissue has one to fifty."""


@dataclass(frozen=True)
class Thumbnail:
    """A picture of the whole slide.

    Attributes:
        pixels: RGB, ``[h, w, 3]``.
        scale: Level-0 pixels per picture pixel, a real number.
        unreadable: True where the slide is damaged, ``[h, w]``; the pixels are white there.
    """

    pixels: NDArray[np.uint8]
    scale: float
    unreadable: NDArray[np.bool_]


def thumbnail_of(slide: Slide, mpp: float) -> Thumbnail:
    """Return a picture of a slide at about 8 µm per pixel, its longer side 384 to 4096 pixels.

    Args:
        slide: The slide.
        mpp: Level-0 resolution of the slide, in µm per pixel.

    Raises:
        SlideError: The level that has to be read states more pixels than the slide's files can
            hold.
    """
    wanted = max(_TARGET_UM / mpp, max(slide.dimensions) / _MAX_SIDE, 1.0)
    # A small slide must not shrink to nothing.
    wanted = max(1.0, min(wanted, max(slide.dimensions) / _MIN_SIDE))
    level = slide.best_level(wanted)
    level_width, level_height = slide.level_dimensions[level]
    num_pixels, num_bytes = level_width * level_height, 0
    if num_pixels > OVERVIEW_PIXELS.value():
        num_bytes = _bytes_of(slide.path, num_pixels // _PIXELS_A_BYTE)
    OVERVIEW_PIXELS.require(num_pixels, slide.path, SlideError, earned=_PIXELS_A_BYTE * num_bytes)
    # a strip narrower than one picture pixel would be read with as much white beside it
    factor = round(wanted / slide.downsamples[level])
    factor = max(1, min(factor, level_width, level_height))
    width, height = math.ceil(level_width / factor), math.ceil(level_height / factor)
    pixels = np.full((height, width, 3), 255, np.uint8)
    unreadable = np.zeros((height, width), np.bool_)
    gather = _Gather(slide, level, factor, pixels, unreadable)
    gather.region(0, 0, width, height, max(1, _BLOCK_PX // factor))
    return Thumbnail(pixels, factor * slide.downsamples[level], unreadable)


def _bytes_of(path: Path, enough: int) -> int:
    """Count the bytes of a slide, in its file and in the folder of its files, up to ``enough``."""
    found = path.stat().st_size if path.is_file() else 0
    folder = path if path.is_dir() else path.with_suffix("")
    for parent, _, names in os.walk(folder):
        for name in names:
            found += Path(parent, name).lstat().st_size
            if found >= enough:
                return found
    return found


@dataclass
class _Gather:
    slide: Slide
    level: int
    factor: int
    pixels: NDArray[np.uint8]
    unreadable: NDArray[np.bool_]
    num_errors: int = 0

    def region(self, left: int, top: int, right: int, bottom: int, block: int) -> None:
        """Fill a part of the picture, block by block.

        Args:
            left: Left edge of the part, in picture pixels.
            top: Top edge.
            right: Right edge, exclusive.
            bottom: Bottom edge, exclusive.
            block: Side of a block, in picture pixels; what cannot be read is tried in smaller ones.
        """
        for y in range(top, bottom, block):
            for x in range(left, right, block):
                self._block(x, y, min(x + block, right), min(y + block, bottom), block)

    def _block(self, left: int, top: int, right: int, bottom: int, block: int) -> None:
        try:
            self.pixels[top:bottom, left:right] = self._read(left, top, right, bottom)
        except SlideError:
            self.slide.reopen()
            self.num_errors += 1
            small = block * self.factor <= _SMALL_BLOCK_PX or block == 1
            if small or self.num_errors > _MAX_ERRORS:
                self.unreadable[top:bottom, left:right] = True
            else:
                self.region(left, top, right, bottom, max(1, block // 4))

    def _read(self, left: int, top: int, right: int, bottom: int) -> NDArray[np.uint8]:
        factor, downsample = self.factor, self.slide.downsamples[self.level]
        corner = (round(left * factor * downsample), round(top * factor * downsample))
        width, height = (right - left) * factor, (bottom - top) * factor
        region = self.slide.read_level(*corner, self.level, width, height)
        size = (right - left, bottom - top)
        return np.asarray(cv2.resize(region, size, interpolation=cv2.INTER_AREA), np.uint8)
