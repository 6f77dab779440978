"""Tissue that the user outlined: GeoJSON in level-0 pixels, or a picture of the slide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FileError
from tcssa.files.boundary import reading, require_file
from tcssa.files.picture import read_not_black
from tcssa.slides.tissue.outlines import filled, read_outlines

_PICTURES = (".png", ".tif", ".tiff", ".jpg")
_MAX_STRETCH = 0.02


class MaskError(FileError):
    """A mask cannot be used."""


def read_mask(
    path: Path, shape: tuple[int, int], scale: float, dimensions: tuple[int, int]
) -> NDArray[np.bool_]:
    """Read the tissue mask in a file, at the size of the slide's thumbnail.

    Args:
        path: ``.geojson`` or ``.json`` with polygons in level-0 pixels, as QuPath and TRIDENT write
            them, holes kept; or a picture of the whole slide at any size, black outside the tissue.
        shape: Height and width of the thumbnail.
        scale: Level-0 pixels per thumbnail pixel.
        dimensions: Width and height of the slide at level 0.

    Returns:
        True where tissue is, ``[h, w]``.

    Raises:
        MaskError: The file is missing or cannot be read as either, or the picture's aspect ratio is
            not the slide's.
    """
    with reading(path, MaskError):
        is_there = path.exists()
    if not is_there:
        raise MaskError(
            path,
            "there is no such mask",
            hint="draw it, or leave this slide out of the call with --mask",
        )
    require_file(path, MaskError)
    if path.suffix.lower() in _PICTURES:
        return _from_picture(path, shape, scale, dimensions)
    return filled(read_outlines(path, dimensions, MaskError), shape, scale, MaskError)


def _from_picture(
    path: Path, shape: tuple[int, int], scale: float, dimensions: tuple[int, int]
) -> NDArray[np.bool_]:
    inside = read_not_black(path, MaskError)
    height, width = inside.shape
    stretch = (width / dimensions[0]) / (height / dimensions[1])
    if abs(stretch - 1) > _MAX_STRETCH and abs(width / height * dimensions[1] - dimensions[0]) > 2:
        raise MaskError(
            path,
            f"is {width} x {height}, which is not of the shape of the slide, "
            f"{dimensions[0]} x {dimensions[1]}",
            hint="a mask is a picture of the whole slide, at any size",
        )
    # the thumbnail may reach a little beyond the slide: map centres, not corners
    rows = ((np.arange(shape[0]) + 0.5) * scale * height / dimensions[1]).astype(np.int64)
    columns = ((np.arange(shape[1]) + 0.5) * scale * width / dimensions[0]).astype(np.int64)
    rows, columns = np.minimum(rows, height - 1), np.minimum(columns, width - 1)
    return np.asarray(inside[np.ix_(rows, columns)])
