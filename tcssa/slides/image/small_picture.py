"""Small picture of a slide to draw on: its thumbnail, or else the grid of its patches."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError, SlideError
from tcssa.features import open_bag
from tcssa.files.boundary import reading
from tcssa.files.picture import read_rgb

_log = logging.getLogger(__name__)

_GRID_PX = 700
_GLASS, _TISSUE = 255, 214


@dataclass(frozen=True)
class Picture:
    """Small picture of a slide."""

    pixels: NDArray[np.uint8]
    """RGB [h, w, 3]."""
    scale: float
    """Level-0 pixels per picture pixel."""


def picture_beside(features: Path) -> Picture | None:
    """Read the thumbnail of a slide from the job folder that its features or slots lie in.

    Returns:
        The picture; None if there is no thumbnail, the features do not state the width of level 0,
        or the thumbnail is damaged, which is logged.

    Raises:
        FeatureFileError: The features cannot be read.
    """
    above = features.resolve().parents
    if len(above) < 3:
        return None
    # features are in a folder of the grid; slots may be in one of the job itself
    beside = [above[up] / "thumbnails" / f"{features.stem}.jpg" for up in (2, 1)]
    thumbnail = next((path for path in beside if path.is_file()), None)
    if thumbnail is None:
        return None
    with open_bag(features) as bag, reading(features, FeatureFileError):
        width = float(bag.attributes.get("level0_width", 0))
    if not 0 < width < math.inf:
        return None
    try:
        pixels = read_rgb(thumbnail, SlideError)
    except SlideError as error:
        _log.warning("%s; patches are drawn in its place", error)
        return None
    return Picture(pixels, width / pixels.shape[1])


def grid_picture(coords: NDArray[Any], patch_size: int) -> Picture:
    """Draw the patches alone, as grey squares on white.

    Args:
        coords: Corners (x, y) of the patches, ``[n, 2]``, which begin at 0.
        patch_size: Side of a patch, in the same pixels.
    """
    extent = coords.max(axis=0) + patch_size
    scale = max(float(extent.max()) / _GRID_PX, 1e-9)
    width, height = np.ceil(extent / scale).astype(int)
    pixels = np.full((height, width, 3), _GLASS, np.uint8)
    for x, y in coords / scale:
        left, top = round(x), round(y)
        right, bottom = round(x + patch_size / scale), round(y + patch_size / scale)
        pixels[top:bottom, left:right] = _TISSUE
    return Picture(pixels, scale)
