"""Tissue mask of a slide, and the share of tissue in each patch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.slides.image.thumbnail import Thumbnail
from tcssa.slides.tissue.pen import pen_marks
from tcssa.slides.tissue.segmenters import Segmenter, by_saturation, everywhere

_GAP_UM = 40.0
_HOLE_UM2 = 20_000.0
_SPECK_UM2 = 10_000.0


@dataclass(frozen=True)
class Tissue:
    """The tissue of a slide.

    Attributes:
        mask: True where tissue is, ``[h, w]``; from the slide's upper left corner.
        scale: Level-0 pixels per mask pixel, a real number.
        removed: True where something looked like tissue and was taken for a pen mark or a dark
            edge, ``[h, w]``; None if these were not looked for.
    """

    mask: NDArray[np.bool_]
    scale: float
    removed: NDArray[np.bool_] | None = None

    def share_per_patch(self, corners: NDArray[np.int64], side: float) -> NDArray[np.float64]:
        """Compute the share of each patch's area that is tissue.

        Args:
            corners: Level-0 corners (x, y) of the patches, ``[n, 2]``.
            side: Side of a patch, in level-0 pixels.

        Returns:
            Shares from 0 to 1, ``[n]``.
        """
        sums = cv2.integral(self.mask.astype(np.uint8)).astype(np.float64)
        left, top = (corners / self.scale).T
        right, bottom = ((corners + side) / self.scale).T
        inside = (
            _between(sums, bottom, right)
            - _between(sums, top, right)
            - _between(sums, bottom, left)
            + _between(sums, top, left)
        )
        return np.clip(inside / (side / self.scale) ** 2, 0.0, 1.0)


def find_tissue(
    thumbnail: Thumbnail,
    mpp: float,
    segment: Segmenter = by_saturation,
    *,
    keep_pen: bool = False,
) -> Tissue:
    """Find the tissue in the picture of a slide.

    Args:
        thumbnail: The picture. Where it could not be read, tissue is assumed: patches there are
            tried, and counted where they fail, when they are read.
        mpp: Level-0 resolution of the slide, in µm per pixel.
        segment: Segmenter that tells tissue from glass. Gaps and small holes in its mask are
            filled, and specks dropped. Of `everywhere` the whole picture is tissue, untouched.
        keep_pen: Whether pen marks and dark edges that look like tissue count as tissue.
    """
    if segment is everywhere:
        return Tissue(everywhere(thumbnail.pixels, mpp), thumbnail.scale)
    um_per_px = mpp * thumbnail.scale
    mask = segment(thumbnail.pixels, um_per_px)
    removed = np.zeros_like(mask) if keep_pen else mask & pen_marks(thumbnail.pixels, um_per_px)
    mask = (mask & ~removed) | thumbnail.unreadable
    mask = _close_gaps(mask, _GAP_UM / um_per_px)
    mask = _fill_holes(mask, _HOLE_UM2 / um_per_px**2)
    mask = _without_specks(mask, _SPECK_UM2 / um_per_px**2)
    mask = (mask & ~removed) | thumbnail.unreadable
    return Tissue(mask, thumbnail.scale, removed & ~mask)


def _between(
    sums: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate an integral image at real positions: linear within a pixel, exact for areas."""
    height, width = sums.shape
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    top = np.minimum(rows.astype(np.int64), height - 2)
    left = np.minimum(columns.astype(np.int64), width - 2)
    down, across = rows - top, columns - left
    upper = sums[top, left] * (1 - across) + sums[top, left + 1] * across
    lower = sums[top + 1, left] * (1 - across) + sums[top + 1, left + 1] * across
    result: NDArray[np.float64] = upper * (1 - down) + lower * down
    return result


def _close_gaps(mask: NDArray[np.bool_], width_px: float) -> NDArray[np.bool_]:
    """Join tissue across gaps of up to ``width_px``."""
    radius = math.floor(width_px / 2)
    if radius < 1:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Beyond the picture there is nothing to join with: without a margin, closing eats its rim.
    padded = np.pad(mask.astype(np.uint8), radius)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)
    return np.asarray(closed[radius:-radius, radius:-radius] > 0)


def _fill_holes(mask: NDArray[np.bool_], least_px: float) -> NDArray[np.bool_]:
    """Fill holes of fewer than ``least_px`` pixels.

    Background at the picture's edge is no hole, however small: what lies beyond is not known.
    """
    labels, areas = _parts(~mask)
    is_hole = areas < least_px
    is_hole[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = False
    is_hole[0] = False  # the tissue itself
    return np.asarray(mask | is_hole[labels])


def _without_specks(mask: NDArray[np.bool_], least_px: float) -> NDArray[np.bool_]:
    """Drop connected parts of fewer than ``least_px`` pixels."""
    labels, areas = _parts(mask)
    keep = areas >= least_px
    keep[0] = False
    return np.asarray(keep[labels])


def _parts(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number the connected parts from 1; return each pixel's number and each part's area."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return np.asarray(labels), np.asarray(stats[:, cv2.CC_STAT_AREA])
