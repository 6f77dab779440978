"""Slides of many gigapixels for tests and benchmarks: a real region, repeated.

Tiles that are alike are stored once, so that such a slide takes a few megabytes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from tcssa.synthetic.pyramid import encoded_tiles, reduced
from tcssa.synthetic.tiff import JpegLevel, jpeg_tiff

TILE = 256
_STEPS = 3
"""Levels: each a quarter of the last, so a region of 4^2 tiles is whole tiles on all of them."""


def real_region(slide: Path, side: int = 2048) -> NDArray[np.uint8]:
    """The upper left square of a slide, RGB."""
    with openslide.OpenSlide(str(slide)) as opened:
        return np.asarray(opened.read_region((0, 0), 0, (side, side)).convert("RGB"))


def write_large_slide(
    path: Path, region: NDArray[np.uint8], repeats: int, *, mpp: float, tile: int = TILE
) -> Path:
    """A pyramid of the region repeated ``repeats`` times along both sides.

    Args:
        path: File to write.
        region: RGB pixels, square; its side is a multiple of the tile.
        repeats: Side of the slide, in regions.
        mpp: Of level 0.
        tile: Side of the JPEG tiles.
    """
    levels = []
    for step in range(_STEPS):
        side = region.shape[0]
        if side % tile:  # smaller than a tile: the level itself is repeated
            level = np.tile(region, (repeats, repeats, 1))
            tiles = list(encoded_tiles(level, tile))
        else:
            once = list(encoded_tiles(region, tile))
            across = side // tile
            rows = [once[row * across : (row + 1) * across] * repeats for row in range(across)]
            tiles = [one for row in rows * repeats for one in row]
        levels.append(JpegLevel(side * repeats, side * repeats, tile, mpp * 4**step, tiles))
        region = reduced(region)
    path.write_bytes(jpeg_tiff(levels))
    return path
