"""Pictures beside the features: the plain slide, and the slide with its tissue and patches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.slides.image.thumbnail import Thumbnail
from tcssa.slides.tissue.contours import Contour

_MIN_SIDE, _MAX_SIDE = 1000, 2400
_OUTLINE, _HOLE, _GRID = (0, 140, 60), (20, 90, 200), (40, 40, 40)  # RGB
_UNREADABLE, _PEN = (200, 0, 0), (235, 130, 0)
_HATCH_PX = 12
_JPEG_QUALITY = 88
_VEIL = 0.45
_LEAST_BOX = 8


def thumbnail_jpeg(thumbnail: Thumbnail) -> bytes:
    """Return the plain picture of the slide as a JPEG."""
    return _jpeg(_fitted(thumbnail)[0])


def overview_jpeg(
    thumbnail: Thumbnail,
    contours: Sequence[Contour],
    corners: NDArray[np.int64],
    side: int,
    removed: NDArray[np.bool_] | None = None,
) -> bytes:
    """Draw the slide with its tissue outlined and its patches; the rest of it is paler.

    Args:
        thumbnail: The picture of the slide.
        contours: The pieces of tissue.
        corners: Level-0 corners (x, y) of the patches, ``[n, 2]``.
        side: Side of a patch, in level-0 pixels.
        removed: True where the thumbnail was taken for pen, ``[h, w]``; hatched.

    Returns:
        The picture as a JPEG.
    """
    picture, scale = _fitted(thumbnail)
    taken = np.zeros(picture.shape[:2], np.uint8)
    boxes = np.rint(np.concatenate([corners, corners + side], axis=1) / scale).astype(int).tolist()
    for left, top, right, bottom in boxes:
        taken[top:bottom, left:right] = 1
    white = np.full_like(picture, 255)
    veiled = np.asarray(cv2.addWeighted(picture, 1 - _VEIL, white, _VEIL, 0), np.uint8)
    picture = np.asarray(cv2.copyTo(picture, taken, veiled), np.uint8)
    drawn = boxes if side / scale >= _LEAST_BOX else []  # smaller ones would blacken the picture
    for left, top, right, bottom in drawn:
        cv2.rectangle(picture, (left, top), (right, bottom), _GRID, 1)
    thickness = max(2, round(max(picture.shape) / 600))
    for contour in contours:
        _draw(picture, contour.outline, scale, _OUTLINE, thickness)
        for hole in contour.holes:
            _draw(picture, hole, scale, _HOLE, thickness)
    if removed is not None and removed.any():
        rows, columns = np.indices(picture.shape[:2])
        hatch = (rows + columns) % _HATCH_PX < _HATCH_PX // 4
        picture[_like(removed, picture) & hatch] = _PEN
    if thumbnail.unreadable.any():
        picture[_like(thumbnail.unreadable, picture)] = _UNREADABLE
    return _jpeg(picture)


def with_dropped(
    overview: NDArray[np.uint8], corners: NDArray[np.int64], side: int, width: int
) -> bytes:
    """Cross out on the overview the patches that could not be read.

    Args:
        overview: Pixels of the picture that `overview_jpeg` made, ``[h, w, 3]``.
        corners: Level-0 corners (x, y) of those patches, ``[n, 2]``.
        side: Side of a patch, in level-0 pixels.
        width: Width of the slide, in level-0 pixels.

    Returns:
        The picture as a JPEG.
    """
    picture = overview.copy()
    scale = width / picture.shape[1]
    boxes = np.rint(np.concatenate([corners, corners + side], axis=1) / scale).astype(int).tolist()
    for left, top, right, bottom in boxes:
        cv2.rectangle(picture, (left, top), (right, bottom), _UNREADABLE, 2)
        cv2.line(picture, (left, top), (right, bottom), _UNREADABLE, 2)
        cv2.line(picture, (left, bottom), (right, top), _UNREADABLE, 2)
    return _jpeg(picture)


def _fitted(thumbnail: Thumbnail) -> tuple[NDArray[np.uint8], float]:
    """Return the picture at a size fit for viewing, and its level-0 pixels per pixel."""
    longest = max(thumbnail.pixels.shape)
    factor = min(max(1.0, _MIN_SIDE / longest), _MAX_SIDE / longest)
    if factor > 1:
        factor = float(math.ceil(factor))
    height, width = thumbnail.pixels.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    picture = np.asarray(cv2.resize(thumbnail.pixels, size, interpolation=method), np.uint8)
    return picture, thumbnail.scale / factor


def _draw(
    picture: NDArray[np.uint8],
    outline: NDArray[np.float64],
    scale: float,
    colour: tuple[int, int, int],
    thickness: int,
) -> None:
    points = np.rint(outline / scale).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(picture, [points], True, colour, thickness, cv2.LINE_AA)


def _like(mask: NDArray[np.bool_], picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    height, width = picture.shape[:2]
    sized = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(sized) > 0


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    done, content = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    assert done  # encoding in memory fails only for pictures of no pixels
    return content.tobytes()
