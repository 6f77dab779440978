"""Writing pixels as a tiled, pyramidal TIFF that OpenSlide reads."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tcssa.files.atomic import write_bytes
from tcssa.synthetic.tiff import JpegLevel, jpeg_tiff

_TILE = 256
_STEP = 4
_QUALITY = 88
_HALVED_CHROMA = 2  # Pillow's number for 4:2:0


def write_pyramid(
    path: Path, pixels: NDArray[np.uint8], mpp: float, description: str | None = None
) -> None:
    """Write a generic tiled TIFF with JPEG tiles, each level a quarter of the last in both sides.

    The file appears under its name only when it is complete, and the same pixels always give
    the same bytes.

    Args:
        path: File to write; replaced if it exists.
        pixels: RGB pixels of level 0, uint8 [H, W, 3].
        mpp: Micrometres per level-0 pixel, written to the resolution tags.
        description: ASCII text for the image description of level 0, if any.
    """
    levels = [
        JpegLevel(
            width=level.shape[1],
            height=level.shape[0],
            tile=_TILE,
            mpp=mpp * pixels.shape[1] / level.shape[1],
            tiles=list(encoded_tiles(level)),
        )
        for level in _levels(pixels)
    ]
    write_bytes(path, jpeg_tiff(levels, description))


def _levels(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield the slide itself and a quarter of it, then quarters until one tile holds it all."""
    yield pixels
    while True:
        pixels = reduced(pixels)
        yield pixels
        if max(pixels.shape) <= _TILE:
            return


def reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make the next level of a pyramid: a quarter of both sides, averaged by area."""
    size = (max(pixels.shape[1] // _STEP, 1), max(pixels.shape[0] // _STEP, 1))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def encoded_tiles(level: NDArray[np.uint8], side: int = _TILE) -> Iterator[bytes]:
    """Yield the JPEG tiles of a level, row by row.

    Args:
        level: RGB pixels of the level, uint8 [H, W, 3].
        side: Side of the tiles, in pixels; tiles at the right and lower border are padded.
    """
    height, width = level.shape[:2]
    # Repeated edges keep the padding from ringing into the pixels that are shown.
    padded = np.pad(level, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    for top in range(0, height, side):
        for left in range(0, width, side):
            tile = np.ascontiguousarray(padded[top : top + side, left : left + side])
            buffer = io.BytesIO()
            Image.fromarray(tile).save(
                buffer, format="JPEG", quality=_QUALITY, subsampling=_HALVED_CHROMA
            )
            yield buffer.getvalue()
