"""One slide: its size, its resolution, and pixels read at any scale.

One of `tcssa.slides.readers` opens it; what the readers leave to their callers is decided here:
which resolution to trust, which level to read from, and how areas that were not scanned look.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tcssa.errors import MissingMppError, SlideError, one_line
from tcssa.features.tables import slide_name
from tcssa.files.boundary import is_folder
from tcssa.slides.readers.registry import open_backend
from tcssa.slides.settings import MAX_MPP, MIN_MPP, Resample

_MAX_ANISOTROPY = 0.05
_LEVEL_TOLERANCE = 1.01
"""Downsamples are quotients of whole sizes (2.0005 for 2): so little upsampling does no harm."""

MppSource = Literal["properties", "objective", "given", "fallback"]


@dataclass(frozen=True)
class Resolution:
    """Level-0 resolution of a slide, in µm per pixel, and where it was stated."""

    mpp: float
    source: MppSource
    stated: float | None = None
    """What the slide states itself, where that was not taken."""


class Slide:
    """A slide open for reading; use it as a context manager.

    Only one thread may use it at a time, unless it `is_shareable`.

    Args:
        path: File of the slide, or its folder.
        reader: Name of the reader to use; None chooses one by the content.
        scene: Which picture of a file that holds several, from 0; None takes the largest.

    Raises:
        SlideError: The file is missing, cut short, or in no format that a reader knows.
        MissingExtraError: The reader needs a package that is not installed.
        UnknownNameError: No reader has that name.
    """

    def __init__(
        self, path: Path | str, reader: str | None = None, scene: int | None = None
    ) -> None:
        self.path, self._reader, self._scene = Path(path), reader, scene
        self._backend = open_backend(self.path, reader, scene)
        self.level_dimensions: tuple[tuple[int, int], ...] = tuple(self._backend.level_dimensions)
        self.dimensions: tuple[int, int] = self.level_dimensions[0]
        """Width and height of level 0."""
        self.downsamples: tuple[float, ...] = tuple(self._backend.level_downsamples)

    @property
    def is_shareable(self) -> bool:
        """True if several threads may read at once."""
        return bool(getattr(self._backend, "is_shareable", False))

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks of the reader on what it left out or took for granted, for the user."""
        return tuple(getattr(self._backend, "remarks", ()))

    @property
    def slide_id(self) -> str:
        """The file's name without its extension."""
        return slide_id_of(self.path)

    @property
    def bounds(self) -> tuple[int, int, int, int] | None:
        """Left, top, width and height of what was scanned at level 0, None if not stated."""
        bounds: tuple[int, int, int, int] | None = getattr(self._backend, "bounds", None)
        return bounds if bounds is None or min(bounds[2:]) > 0 else None

    def resolution(
        self, given_mpp: float | None = None, fallback_mpp: float | None = None
    ) -> Resolution:
        """Return the level-0 resolution.

        Args:
            given_mpp: Resolution in µm per pixel that the user states; it comes before the file's.
            fallback_mpp: Resolution where neither the user nor the file states a plausible one.

        Raises:
            MissingMppError: No resolution is stated, or the file states an implausible one.
            SlideError: The pixels are not square.
        """
        try:
            own = self._own_resolution()
        except SlideError as error:
            if given_mpp is not None:
                return Resolution(given_mpp, "given")
            if fallback_mpp is not None and isinstance(error, MissingMppError):
                return Resolution(fallback_mpp, "fallback")
            raise
        return own if given_mpp is None else Resolution(given_mpp, "given", own.mpp)

    def _own_resolution(self) -> Resolution:
        """Return the resolution that the file states; see `resolution` for what is raised."""
        if self._backend.mpp is not None:
            return Resolution(self._square(*self._backend.mpp), "properties")
        power = self._backend.objective_power
        if power is not None:
            return Resolution(self._believable(10 / power, f"objective {power:g}x"), "objective")
        raise MissingMppError(self.path)

    def best_level(self, scale: float) -> int:
        """Return the coarsest level whose pixels span at most ``scale`` level-0 pixels.

        Where ``scale`` is below 1 it is level 0, which then has to be upsampled.
        """
        fitting = [
            level
            for level, downsample in enumerate(self.downsamples)
            if downsample <= scale * _LEVEL_TOLERANCE
        ]
        return max(fitting, key=lambda level: self.downsamples[level], default=0)

    def read_level(self, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read a region of a level; areas not scanned and outside the slide are white.

        Args:
            x: Left edge, in level-0 pixels.
            y: Top edge, in level-0 pixels.
            level: The level to read.
            width: Width of the region, in pixels of that level.
            height: Height of the region, in pixels of that level.

        Returns:
            RGB pixels, ``[height, width, 3]``.

        Raises:
            SlideError: A tile is damaged; `reopen` the slide before the next read.
        """
        try:
            region = self._backend.read_region(x, y, level, width, height)
        except MemoryError:
            raise
        except Exception as error:  # the decoders' errors have no common type
            reason = f"cannot be read at x = {x}, y = {y}, level {level} ({one_line(error)})"
            raise SlideError(self.path, reason) from None
        return _over_white(region)

    def read_patch(
        self, x: int, y: int, size_level0: int, out_px: int, resample: Resample = "area"
    ) -> NDArray[np.uint8]:
        """Read a square of the slide, resampled to ``[out_px, out_px, 3]``.

        Args:
            x: Left edge, in level-0 pixels.
            y: Top edge, in level-0 pixels.
            size_level0: Side of the square, in level-0 pixels.
            out_px: Side that it is resampled to, in pixels.
            resample: Method of resampling, as `resized` takes it.

        Raises:
            SlideError: A tile is damaged; `reopen` the slide before the next read.
        """
        level = self.best_level(size_level0 / out_px)
        side = max(1, round(size_level0 / self.downsamples[level]))
        pixels = self.read_level(x, y, level, side, side)
        return resized(pixels, out_px, resample)

    def reopen(self) -> None:
        """Reopen the file: after an error OpenSlide's handle refuses every further read."""
        self._backend.close()
        self._backend = open_backend(self.path, self._reader, self._scene)

    def close(self) -> None:
        """Close the file."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

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
    """Return a slide's name without its extension (``.ome.tif`` and ``.ome.zarr`` as a whole)."""
    name = slide_name(path.name)
    if name != path.name:
        return name
    if path.suffix.lower() == ".zarr":
        return path.stem.removesuffix(".ome")
    # the name of a DICOM folder has no extension, but it may have dots
    return path.name if is_folder(path) else path.stem


def resized(
    pixels: NDArray[np.uint8], out_px: int, resample: Resample = "area"
) -> NDArray[np.uint8]:
    """Resample a square picture to another size.

    Args:
        pixels: RGB pixels, ``[side, side, 3]``.
        out_px: Side of the result, in pixels.
        resample: ``area`` averages, as pyramids are made, and upsamples with cubic interpolation;
            ``lanczos`` blurs less where the scale is not a whole number, and takes thirty times as
            long.
    """
    side = pixels.shape[0]
    if side == out_px:
        return pixels
    if resample == "lanczos":
        picture = Image.fromarray(pixels).resize((out_px, out_px), Image.Resampling.LANCZOS)
        return np.asarray(picture, np.uint8)
    method = cv2.INTER_AREA if side > out_px else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (out_px, out_px), interpolation=method), np.uint8)


def _over_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    if alpha.shape[-1] == 0:
        return rgb
    if alpha.min() == 255:
        return np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), np.uint8)
    if alpha.max() == 0:  # much of a slide may not have been scanned
        return np.full_like(rgb, 255)
    share = alpha.astype(np.float32) / 255
    return np.rint(rgb * share + 255 * (1 - share)).astype(np.uint8)
