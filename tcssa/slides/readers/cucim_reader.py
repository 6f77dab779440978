"""cuCIM, for machines with an NVIDIA GPU. Written from its documentation; not yet run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import SlideError
from tcssa.slides.readers.protocol import white_outside

_MICROMETRE = ("micrometer", "micron", "um", "µm")


class CuCimReader:
    """See `SlideReader`."""

    name = "cucim"

    def accepts(self, path: Path) -> bool:
        """See `SlideReader.accepts`: never, unless asked for, since OpenSlide is the tested one."""
        return False

    def open(self, path: Path) -> CuCimBackend:
        """See `SlideReader.open`."""
        try:
            from cucim import CuImage
        except ImportError:
            raise SlideError(
                path,
                "the reader cucim was asked for, and its package cannot be imported",
                hint="install the cucim package that belongs to this machine's CUDA, or leave "
                "--reader out",
            ) from None
        return CuCimBackend(CuImage(str(path)))


class CuCimBackend:
    """See `SlideBackend`."""

    objective_power: float | None = None

    def __init__(self, image: Any) -> None:  # an optional package without types
        self._image = image
        levels = image.resolutions
        self.level_dimensions: tuple[tuple[int, int], ...] = tuple(
            (int(width), int(height)) for width, height in levels["level_dimensions"]
        )
        self.level_downsamples: tuple[float, ...] = tuple(map(float, levels["level_downsamples"]))

    @property
    def mpp(self) -> tuple[float, float] | None:
        """See `SlideBackend.mpp`."""
        spacing = dict(zip(self._image.dims, self._image.spacing(), strict=False))
        units = dict(zip(self._image.dims, self._image.spacing_units(), strict=False))
        if not all(units.get(axis) in _MICROMETRE and spacing[axis] > 0 for axis in "XY"):
            return None
        return float(spacing["X"]), float(spacing["Y"])

    def read_region(self, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
        """See `SlideBackend.read_region`; to the nearest pixel of the level."""
        downsample = self.level_downsamples[level]

        def read(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
            """See `white_outside`."""
            corner = (int((x0 + 0.5) * downsample), int((y0 + 0.5) * downsample))
            return np.asarray(self._image.read_region(corner, (x1 - x0, y1 - y0), level))

        left, top = round(x / downsample), round(y / downsample)
        return white_outside(left, top, width, height, self.level_dimensions[level], read)

    def close(self) -> None:
        """See `SlideBackend.close`."""
        self._image.close()
