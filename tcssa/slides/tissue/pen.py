"""Pen marks and dark edges of coverslips, told by colours that no stain has in large pieces.

Haematoxylin and eosin, and DAB's brown, lie between red and violet. A pen is green or blue, or red
far beyond eosin, or black; an edge of a coverslip is grey and dark. Pigment, ink at a margin and
folded nuclei have such colours too, but in small pieces: those are kept.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_GREEN_AND_BLUE = ((35, 60, 30), (112, 255, 255))
"""Hue (of 180), saturation and value, from and to. Haematoxylin begins at a hue of about 118."""
_VIOLET_BLUE = ((112, 165, 60), (120, 255, 255))
"""A ball pen's blue; stain of this hue is paler."""
_RED = (((0, 190, 130), (4, 255, 255)), ((175, 190, 130), (179, 255, 255)))
_BLACK = ((0, 0, 0), (179, 70, 80))
_LEAST_UM2 = 60_000.0
"""Least area of a mark. A nucleus has 50 to 150 µm², a clump of pigment up to some thousands."""
_RIM_UM = 32.0
"""Width of the margin around a mark, whose fringe is pale and looks like tissue."""


def pen_marks(pixels: NDArray[np.uint8], um_per_px: float) -> NDArray[np.bool_]:
    """Find pen marks and dark edges of coverslips.

    Args:
        pixels: RGB picture of the slide, ``[h, w, 3]``.
        um_per_px: Resolution of the picture, in µm per pixel.

    Returns:
        True where they are, ``[h, w]``.
    """
    hsv = cv2.cvtColor(cv2.medianBlur(pixels, 3), cv2.COLOR_RGB2HSV)
    found = np.zeros(pixels.shape[:2], np.uint8)
    for low, high in (_GREEN_AND_BLUE, _VIOLET_BLUE, *_RED, _BLACK):
        found |= np.asarray(cv2.inRange(hsv, np.array(low), np.array(high)), np.uint8)
    # strokes are thin and broken: their parts are joined before they are measured
    close = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    joined = cv2.morphologyEx(found, cv2.MORPH_CLOSE, close)
    number, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= _LEAST_UM2 / um_per_px**2
    keep[0] = False
    if number == 1 or not keep.any():
        return np.zeros(pixels.shape[:2], np.bool_)
    rim = max(1, round(_RIM_UM / um_per_px))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    return np.asarray(cv2.dilate(keep[labels].astype(np.uint8), disc) > 0)
