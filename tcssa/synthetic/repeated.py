"""Slides of many gigapixels for tests and benchmarks: a real region, repeated.

Identical tiles are stored once, so that such a slide takes a few megabytes.
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
"""Number of levels, each a quarter of the last: sides of 16, 4 and 1 tiles, for example."""


def real_region(slide: Path, side: int = 2048) -> NDArray[np.uint8]:
    """Read the upper left square of a slide.

    Args:
        slide: File of the slide.
        side: Side of the square, in level-0 pixels.

    Returns:
        RGB pixels, uint8 [side, side, 3].
    """
    with openslide.OpenSlide(str(slide)) as opened:
        return np.asarray(opened.read_region((0, 0), 0, (side, side)).convert("RGB"))


def write_large_slide(
    path: Path, region: NDArray[np.uint8], repeats: int, *, mpp: float, tile: int = TILE
) -> Path:
    """Write a pyramid of a region that is repeated along both sides.

    Args:
        path: File to write.
        region: RGB pixels, square; its side is a multiple of the tile.
        repeats: Side of the slide, in regions.
        mpp: Micrometres per level-0 pixel.
        tile: Side of the JPEG tiles, in pixels.

    Returns:
        The file's path.
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
