"""A small picture of a slide, and beside it the same under a heat map; for pages of many."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from tcssa.mil.heatmaps.drawing import OPACITY, Layer, raster
from tcssa.slides.image.places import Places, picture_of

_GAP_PX = 8


def side_by_side(
    features: Path, places: Places, layers: Sequence[Layer], longest: int
) -> NDArray[Any]:
    """Return the slide, then a copy of it for each heat map, from left to right, RGB [h, w, 3].

    Where there is no thumbnail, the grid of the patches stands for the slide.

    Args:
        features: The slide's feature file, beside which its thumbnail is looked for.
        places: Locations of the patches.
        layers: The heat maps.
        longest: Longest side of each, in pixels.
    """
    picture, is_slide = picture_of(features, None, places)
    # the origin of a grid of patches is its own corner, not the slide's
    drawn = places if is_slide else places.from_own_corner()
    small = Image.fromarray(picture.pixels)
    small.thumbnail((longest, longest))
    slide = np.asarray(small)
    height, width = slide.shape[:2]
    scale = picture.scale * picture.pixels.shape[1] / width
    gap = np.full((height, _GAP_PX, 3), 255, np.uint8)
    row = [slide]
    for layer in layers:
        shown = raster(layer.scale(layer.values), drawn, scale, (height, width))
        colours = colormaps[layer.scale.colours](np.nan_to_num(shown))[..., :3] * 255
        share = OPACITY * np.isfinite(shown)[..., None]
        row += [gap, np.rint((1 - share) * slide + share * colours).astype(np.uint8)]
    return np.concatenate(row, axis=1)
