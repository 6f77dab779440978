"""A small picture of a whole slide, made without ever holding a large one.

A slide may have one level only, of 10^10 pixels. So the picture is gathered block by block
from the best level, by a whole-numbered factor: the pixels do not depend on the blocks.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass, field
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
        damaged_levels: Levels that could not be read somewhere, so that a finer one was read there.
    """

    pixels: NDArray[np.uint8]
    scale: float
    unreadable: NDArray[np.bool_]
    damaged_levels: tuple[int, ...] = ()


def thumbnail_of(slide: Slide, mpp: float) -> Thumbnail:
    """Return a picture of a slide at about 8 µm per pixel, its longer side 384 to 4096 pixels.

    Where a level cannot be read the next finer one is, down to level 0.

    Args:
        slide: The slide.
        mpp: Level-0 resolution of the slide, in µm per pixel.

    Raises:
        SlideError: The level that has to be read, or what is read in place of a damaged one, has
            more pixels than the slide's files can hold.
    """
    wanted = max(_TARGET_UM / mpp, max(slide.dimensions) / _MAX_SIDE, 1.0)
    # A small slide must not shrink to nothing.
    wanted = max(1.0, min(wanted, max(slide.dimensions) / _MIN_SIDE))
    level = slide.best_level(wanted)
    level_width, level_height = slide.level_dimensions[level]
    _require_affordable(slide, level_width * level_height)
    # a strip narrower than one picture pixel would be read with as much white beside it
    factor = round(wanted / slide.downsamples[level])
    factor = max(1, min(factor, level_width, level_height))
    width, height = math.ceil(level_width / factor), math.ceil(level_height / factor)
    pixels = np.full((height, width, 3), 255, np.uint8)
    unreadable = np.zeros((height, width), np.bool_)
    gather = _Gather(slide, level, factor, pixels, unreadable)
    gather.region((0, 0, width, height), level)
    scale = factor * slide.downsamples[level]
    return Thumbnail(pixels, scale, unreadable, tuple(sorted(gather.num_errors.keys() - {0})))


def _require_affordable(slide: Slide, num_pixels: int) -> None:
    num_bytes = 0
    if num_pixels > OVERVIEW_PIXELS.value():
        num_bytes = _bytes_of(slide.path, num_pixels // _PIXELS_A_BYTE)
    OVERVIEW_PIXELS.require(num_pixels, slide.path, SlideError, earned=_PIXELS_A_BYTE * num_bytes)


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


_Box = tuple[int, int, int, int]
"""Left, top, right and bottom edge of a part of the picture; the last two are exclusive."""


@dataclass
class _Gather:
    """Gathers a picture from a level, and from finer ones where that is damaged."""

    slide: Slide
    level: int
    factor: int
    pixels: NDArray[np.uint8]
    unreadable: NDArray[np.bool_]
    num_errors: Counter[int] = field(default_factory=Counter)
    """Errors met on each level."""
    num_finer: int = 0
    """Pixels read of finer levels."""

    def region(self, box: _Box, level: int, block: int | None = None) -> None:
        """Fill a part of the picture, block by block.

        Args:
            box: The part.
            level: The level to read.
            block: Side of a block, in picture pixels; None for the largest that the level allows.
                What cannot be read is tried in smaller ones.
        """
        left, top, right, bottom = box
        block = block or max(1, int(_BLOCK_PX // self._factor_of(level)))
        for y in range(top, bottom, block):
            for x in range(left, right, block):
                self._block((x, y, min(x + block, right), min(y + block, bottom)), level, block)

    def _block(self, box: _Box, level: int, block: int) -> None:
        left, top, right, bottom = box
        try:
            self.pixels[top:bottom, left:right] = self._read(box, level)
            return
        except SlideError:
            self.slide.reopen()
            self.num_errors[level] += 1
        is_small = block * self._factor_of(level) <= _SMALL_BLOCK_PX or block == 1
        if not is_small and self.num_errors[level] <= _MAX_ERRORS:
            self.region(box, level, max(1, block // 4))
        elif (finer := self._finer_than(level)) is not None:
            self.num_finer += round((right - left) * (bottom - top) * self._factor_of(finer) ** 2)
            _require_affordable(self.slide, self.num_finer)
            self.region(box, finer)
        else:
            self.unreadable[top:bottom, left:right] = True

    def _read(self, box: _Box, level: int) -> NDArray[np.uint8]:
        left, top, right, bottom = box
        scale, factor = self.factor * self.slide.downsamples[self.level], self._factor_of(level)
        width, height = round((right - left) * factor), round((bottom - top) * factor)
        region = self.slide.read_level(
            round(left * scale), round(top * scale), level, width, height
        )
        size = (right - left, bottom - top)
        return np.asarray(cv2.resize(region, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _factor_of(self, level: int) -> float:
        """Return the pixels of a level along the side of a picture pixel."""
        return self.factor * self.slide.downsamples[self.level] / self.slide.downsamples[level]

    def _finer_than(self, level: int) -> int | None:
        downsamples = self.slide.downsamples
        finer = [other for other, each in enumerate(downsamples) if each < downsamples[level]]
        return max(finer, key=lambda other: downsamples[other], default=None)
