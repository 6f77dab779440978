"""One slide file: its size, its resolution, and pixels read at any scale.

OpenSlide opens the file; what it leaves to its callers is here: which resolution to believe,
which level to read from, and what the unscanned surroundings look like.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import cv2
import numpy as np
import openslide
from numpy.typing import NDArray

from tcssa.errors import MissingMppError, SlideError
from tcssa.features.tables import slide_name
from tcssa.slides.settings import MAX_MPP, MIN_MPP

_MAX_ANISOTROPY = 0.05
_LEVEL_TOLERANCE = 1.01
"""Downsamples are quotients of whole sizes (2.0005 for 2): that much enlarging does no harm."""

MppSource = Literal["properties", "objective", "given"]


@dataclass(frozen=True)
class Resolution:
    """The level-0 resolution of a slide, and who says so."""

    mpp: float
    source: MppSource


class Slide:
    """A slide open for reading; use it as a context manager, and in one thread.

    Args:
        path: The slide's file.

    Raises:
        SlideError: The file is missing, cut short, or of no format that OpenSlide knows.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._handle = _open(self.path)
        self.dimensions: tuple[int, int] = tuple(self._handle.dimensions)
        """Width and height of level 0."""
        self.downsamples: tuple[float, ...] = tuple(self._handle.level_downsamples)
        self.level_dimensions: tuple[tuple[int, int], ...] = tuple(self._handle.level_dimensions)

    @property
    def slide_id(self) -> str:
        """The file's name without its extension."""
        return slide_id_of(self.path)

    def resolution(self, given_mpp: float | None = None) -> Resolution:
        """The level-0 resolution, in µm per pixel.

        Args:
            given_mpp: What the user says; it comes before what the file says.

        Raises:
            MissingMppError: Nobody says it, or the file says what cannot be.
            SlideError: The pixels are not square.
        """
        if given_mpp is not None:
            return Resolution(given_mpp, "given")
        mpp_x, mpp_y = self._number("openslide.mpp-x"), self._number("openslide.mpp-y")
        if mpp_x is not None and mpp_y is not None:
            return Resolution(self._square(mpp_x, mpp_y), "properties")
        power = self._number("openslide.objective-power")
        if power is not None:
            return Resolution(self._believable(10 / power, f"objective {power:g}x"), "objective")
        raise MissingMppError(self.path)

    def best_level(self, scale: float) -> int:
        """The level to read from for ``scale`` level-0 pixels a pixel: the coarsest that has them.

        Only where level 0 itself is too coarse is it enlarged.
        """
        fitting = [
            level
            for level, downsample in enumerate(self.downsamples)
            if downsample <= scale * _LEVEL_TOLERANCE
        ]
        return max(fitting, key=lambda level: self.downsamples[level], default=0)

    def read_level(self, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
        """RGB pixels ``[height, width, 3]`` of a level, from the level-0 corner (x, y).

        What was not scanned, or lies outside of the slide, is white.

        Raises:
            SlideError: A tile is damaged. `reopen` the slide before the next read.
        """
        try:
            region = self._handle.read_region((x, y), level, (width, height))
        except openslide.OpenSlideError as error:
            reason = f"cannot be read at x = {x}, y = {y}, level {level} ({_plain(error)})"
            raise SlideError(self.path, reason) from None
        return _over_white(np.asarray(region))

    def read_patch(self, x: int, y: int, size_level0: int, out_px: int) -> NDArray[np.uint8]:
        """A square of the slide as ``[out_px, out_px, 3]``.

        Args:
            x: Left edge, in level-0 pixels.
            y: Top edge, in level-0 pixels.
            size_level0: Side, in level-0 pixels.
            out_px: Side it is resampled to.

        Raises:
            SlideError: As `read_level`.
        """
        level = self.best_level(size_level0 / out_px)
        side = max(1, round(size_level0 / self.downsamples[level]))
        pixels = self.read_level(x, y, level, side, side)
        return resized(pixels, out_px)

    def reopen(self) -> None:
        """Open the file anew: after an error OpenSlide's handle refuses everything."""
        self._handle.close()
        self._handle = _open(self.path)

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _number(self, key: str) -> float | None:
        """A property as a positive number, None if it is absent or no such thing."""
        try:
            value = float(self._handle.properties.get(key, ""))
        except ValueError:
            return None
        return value if math.isfinite(value) and value > 0 else None

    def _square(self, mpp_x: float, mpp_y: float) -> float:
        mpp = (mpp_x + mpp_y) / 2
        if abs(mpp_x - mpp_y) > _MAX_ANISOTROPY * mpp:
            raise SlideError(
                self.path,
                f"its pixels are not square: {mpp_x:g} µm wide, {mpp_y:g} µm high",
                hint="convert the slide to square pixels",
            )
        return self._believable(mpp, f"{mpp:g} µm per pixel")

    def _believable(self, mpp: float, stated: str) -> float:
        if MIN_MPP <= mpp <= MAX_MPP:
            return mpp
        raise MissingMppError(
            self.path,
            f"states an implausible resolution, {stated} "
            f"(believable: {MIN_MPP:g} to {MAX_MPP:g} µm per pixel)",
        )


def slide_id_of(path: Path) -> str:
    """The name of a slide's file without its extension (``.ome.tif`` is stripped whole)."""
    name = slide_name(path.name)
    return path.stem if name == path.name else name


def resized(pixels: NDArray[np.uint8], out_px: int) -> NDArray[np.uint8]:
    """A square picture at another size: by areas when it shrinks, cubic when it grows."""
    side = pixels.shape[0]
    if side == out_px:
        return pixels
    method = cv2.INTER_AREA if side > out_px else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (out_px, out_px), interpolation=method), np.uint8)


def _open(path: Path) -> Any:  # openslide ships no types
    if not path.exists():
        raise SlideError(path, "there is no such file")
    if path.is_dir():
        raise SlideError(path, "is a folder, not a slide")
    try:
        return openslide.OpenSlide(str(path))
    except openslide.OpenSlideUnsupportedFormatError:
        raise SlideError(
            path,
            "is no slide that OpenSlide can read, or the file is cut short",
            hint="compare its size with the original, or copy it again",
        ) from None
    except (openslide.OpenSlideError, OSError) as error:
        raise SlideError(path, f"cannot be opened ({_plain(error)})") from None


def _over_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(rgb)
    share = alpha.astype(np.float32) / 255
    return np.rint(rgb * share + 255 * (1 - share)).astype(np.uint8)


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
