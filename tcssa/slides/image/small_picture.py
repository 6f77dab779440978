"""A slide in small, to draw on: its thumbnail, or the grid of its patches where there is none."""

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
    """A slide in small."""

    pixels: NDArray[np.uint8]
    """RGB [h, w, 3]."""
    scale: float
    """Level-0 pixels a picture pixel."""


def picture_beside(features: Path) -> Picture | None:
    """Read the slide in small, where the features lie in a job folder with its thumbnail.

    Returns:
        None where there is no thumbnail, or a damaged one, which is logged.

    Raises:
        FeatureFileError: The features cannot be read.
    """
    above = features.resolve().parents
    if len(above) < 3:
        return None
    thumbnail = above[2] / "thumbnails" / f"{features.stem}.jpg"
    if not thumbnail.is_file():
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
    """A picture of the patches alone: grey squares on white, from corners that begin at 0."""
    extent = coords.max(axis=0) + patch_size
    scale = max(float(extent.max()) / _GRID_PX, 1e-9)
    width, height = np.ceil(extent / scale).astype(int)
    pixels = np.full((height, width, 3), _GLASS, np.uint8)
    for x, y in coords / scale:
        left, top = round(x), round(y)
        right, bottom = round(x + patch_size / scale), round(y + patch_size / scale)
        pixels[top:bottom, left:right] = _TISSUE
    return Picture(pixels, scale)
