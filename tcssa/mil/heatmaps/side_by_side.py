"""A small picture of a slide, and beside it the same under a heat map; for pages of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from tcssa.mil.heatmaps.drawing import Layer, raster
from tcssa.slides.image.places import Places
from tcssa.slides.image.small_picture import Picture

_GAP_PX = 8
_OPACITY = 0.65


def side_by_side(
    picture: Picture, places: Places, layers: Sequence[Layer], longest: int
) -> NDArray[Any]:
    """Return the slide, then a copy of it for each heat map, from left to right, RGB [h, w, 3].

    Args:
        picture: Picture of the slide, or of the grid of its patches.
        places: Locations of the patches, in the picture's frame.
        layers: The heat maps.
        longest: Longest side of each, in pixels.
    """
    small = Image.fromarray(picture.pixels)
    small.thumbnail((longest, longest))
    slide = np.asarray(small)
    height, width = slide.shape[:2]
    scale = picture.scale * picture.pixels.shape[1] / width
    gap = np.full((height, _GAP_PX, 3), 255, np.uint8)
    row = [slide]
    for layer in layers:
        shown = raster(layer.scale(layer.values), places, scale, (height, width))
        colours = colormaps[layer.scale.colours](np.nan_to_num(shown))[..., :3] * 255
        share = _OPACITY * np.isfinite(shown)[..., None]
        row += [gap, np.rint((1 - share) * slide + share * colours).astype(np.uint8)]
    return np.concatenate(row, axis=1)
