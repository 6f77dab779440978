"""The patch grid of a slide, at the resolution that was asked for.

A patch of 512 px at 0.5 µm/px is 966.04 level-0 pixels wide on a slide of 0.265 µm/px. Tools
that know only magnifications read 1024 there, as if it were 0.25. Here the side stays a real
number: every corner is rounded by itself, so the error of a position is never above half a
pixel, however far along the row it stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import UsageError
from tcssa.features.magnification import nominal_magnification
from tcssa.slides.tissue.tissue import Tissue

_BLOCK_PX = 2048
"""Side of a block, in pixels at the resolution of the patches."""


@dataclass(frozen=True)
class GridSpec:
    """The geometry of a slide's patches.

    Attributes:
        patch_size: Side of a patch, in pixels at ``mpp``.
        overlap: Pixels that neighbouring patches share, at ``mpp``.
        mpp: Resolution asked for, in µm per pixel.
        mpp_level0: Level-0 resolution of the slide, in µm per pixel.
        trident_scale: Whether level 0 counts as the magnification that TRIDENT assigns to it.
    """

    patch_size: int
    overlap: int
    mpp: float
    mpp_level0: float
    trident_scale: bool = False

    @property
    def downsample(self) -> float:
        """Level-0 pixels a pixel of a patch, a real number."""
        if self.trident_scale:
            return self.mpp * nominal_magnification(self.mpp_level0) / 10
        return self.mpp / self.mpp_level0

    @property
    def side(self) -> float:
        """Side of a patch in level-0 pixels, a real number."""
        return self.patch_size * self.downsample

    @property
    def step(self) -> float:
        """Distance between neighbouring corners in level-0 pixels, a real number."""
        return (self.patch_size - self.overlap) * self.downsample

    @property
    def patch_size_level0(self) -> int:
        """Side of the square that is read, in whole level-0 pixels."""
        return max(1, round(self.side))

    @property
    def mpp_effective(self) -> float:
        """Resolution that the patches truly have, in µm per pixel."""
        return self.patch_size_level0 * self.mpp_level0 / self.patch_size

    def corners(self, width: int, height: int) -> NDArray[np.int64]:
        """Return the level-0 corners (x, y), ``[n, 2]``, of all patches wholly inside the slide.

        They come block by block, and row by row within a block: a file's tiles are decoded once
        for all patches on them, and need not be kept for a whole row of the slide.

        Args:
            width: Width of level 0, in pixels.
            height: Height of level 0, in pixels.

        Raises:
            UsageError: The step is below one level-0 pixel.
        """
        if self.step < 1:
            raise UsageError(
                f"patches every {self.step:.2g} level-0 pixels: the slide has "
                f"{self.mpp_level0:g} µm per pixel, {self.mpp:g} was asked for",
                hint="give a larger --mpp, a larger --patch-size or a smaller --overlap",
            )
        x, y = self._along(width), self._along(height)
        column, row = np.tile(np.arange(len(x)), len(y)), np.repeat(np.arange(len(y)), len(x))
        block = max(1, _BLOCK_PX // (self.patch_size - self.overlap))
        order = np.lexsort((column, row, column // block, row // block))
        return np.stack([x[column[order]], y[row[order]]], axis=1)

    def _along(self, length: int) -> NDArray[np.int64]:
        number = int(length / self.step) + 1
        positions = np.floor(np.arange(number) * self.step + 0.5).astype(np.int64)
        inside: NDArray[np.int64] = positions[positions + self.patch_size_level0 <= length]
        return inside


def tissue_corners(
    spec: GridSpec, dimensions: tuple[int, int], tissue: Tissue, min_tissue: float
) -> NDArray[np.int64]:
    """Return the level-0 corners (x, y), ``[n, 2]``, of the patches that hold enough tissue.

    Args:
        spec: The geometry of the patches.
        dimensions: Width and height of level 0.
        tissue: The tissue of the slide.
        min_tissue: Least share of a patch that is tissue, from 0 to 1; patches without any tissue
            are left out even at 0.

    Raises:
        UsageError: The step is below one level-0 pixel.
    """
    corners = spec.corners(*dimensions)
    share = tissue.share_per_patch(corners, spec.patch_size_level0)
    # A patch must hold some tissue even where the least share is 0.
    return corners[(share >= min_tissue - 1e-9) & (share > 0)]
