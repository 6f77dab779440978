"""Tissue that the user outlined: GeoJSON in level-0 pixels, or a picture of the slide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FileError, one_line
from tcssa.files.boundary import UnsoundError, reading, require_file
from tcssa.files.limits import OUTLINE_PIXELS
from tcssa.files.picture import read_not_black
from tcssa.files.text import read_json

_PICTURES = (".png", ".tif", ".tiff", ".jpg")
_MAX_STRETCH = 0.02
_NUMBERS = {int, float}  # not bool, which is an int
_HOLDERS = {
    "FeatureCollection": "features",
    "Feature": "geometry",
    "GeometryCollection": "geometries",
}

Polygon = list[NDArray[np.float64]]
"""Rings, each ``[n, 2]`` in level-0 pixels; the outer one is the first."""


class MaskError(FileError):
    """A mask cannot be used."""


def read_mask(
    path: Path, shape: tuple[int, int], scale: float, dimensions: tuple[int, int]
) -> NDArray[np.bool_]:
    """The tissue that a file outlines, on the picture of its slide.

    Args:
        path: ``.geojson`` or ``.json`` with polygons in level-0 pixels, as QuPath and TRIDENT write
            them, holes kept; or a picture of the whole slide at any size, tissue not black.
        shape: Height and width of the slide's picture.
        scale: Level-0 pixels a pixel of it.
        dimensions: Width and height of the slide.

    Raises:
        MaskError: The file is missing, or is no such thing.
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
    content = read_json(path, MaskError, top=(dict, list))
    with reading(path, MaskError, hint="export it from QuPath, or as TRIDENT writes it"):
        polygons = [
            [_ring(points, dimensions) for points in rings]
            for geometry in _geometries(content)
            for rings in _rings(geometry)
        ]
        return _filled(polygons, path, shape, scale)


def _filled(
    polygons: list[Polygon], path: Path, shape: tuple[int, int], scale: float
) -> NDArray[np.bool_]:
    """Fill polygons, each within its own bounds.

    Where two overlap there is tissue: only a polygon's own holes are none.
    """
    on_picture = [
        [np.rint(ring / scale - 0.5).astype(np.int32) for ring in polygon] for polygon in polygons
    ]
    OUTLINE_PIXELS.require(sum(map(_cost, on_picture)), path, MaskError)
    mask = np.zeros(shape, np.bool_)
    for outer, *holes in on_picture:
        left, top = np.maximum(outer.min(axis=0), 0)
        right, bottom = np.minimum(outer.max(axis=0) + 1, shape[::-1])
        if left >= right or top >= bottom:
            continue
        corner, part = (int(left), int(top)), np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(part, [outer - corner], 1)
        for hole in holes:
            cv2.fillPoly(part, [hole - corner], 0)
        mask[top:bottom, left:right] |= part > 0
    return mask


def _cost(rings: list[NDArray[np.int32]]) -> int:
    """Count the pixels that drawing takes: those within bounds, and those along the edges."""
    spans = sum(int(np.prod(np.ptp(ring, axis=0).astype(np.int64) + 1)) for ring in rings)
    return spans + sum(int(np.abs(np.diff(ring, axis=0)).sum(dtype=np.int64)) for ring in rings)


def _ring(points: Any, dimensions: tuple[int, int]) -> NDArray[np.float64]:
    """Check the points of a ring, ``[n, 2]``.

    Raises:
        UnsoundError: They are no list of points, or lie far outside of the slide.
    """
    if not isinstance(points, list) or not points:
        raise UnsoundError("is no GeoJSON of polygons: a ring is no list of points")
    for point in points:
        if not (isinstance(point, list) and len(point) >= 2 and {*map(type, point)} <= _NUMBERS):
            raise UnsoundError("is no GeoJSON of polygons: a point is no list of numbers")
    ring = np.array([(float(x), float(y)) for x, y, *_ in points])
    if not np.isfinite(ring).all():
        raise UnsoundError("is no GeoJSON of polygons: a point is not finite")
    far = (np.abs(ring - np.divide(dimensions, 2)) > 1.5 * np.asarray(dimensions)).any(axis=1)
    if far.any():
        x, y = ring[int(np.argmax(far))]
        raise UnsoundError(
            f"the point ({x:g}, {y:g}) lies far outside of the slide, whose size is "
            f"{dimensions[0]} x {dimensions[1]}"
        )
    return ring


def _geometries(content: Any) -> Iterator[dict[str, Any]]:
    """Yield what has coordinates, of all that GeoJSON nests it in."""
    if isinstance(content, list):  # QuPath exports a bare list of features
        for feature in content:
            yield from _geometries(feature)
        return
    kind = content.get("type") if isinstance(content, dict) else None
    if not isinstance(kind, str):
        raise UnsoundError("is no GeoJSON of polygons: an object without a type")
    if kind in _HOLDERS:
        inner = content.get(_HOLDERS[kind])
        if not isinstance(inner, dict if kind == "Feature" else list):
            raise UnsoundError(f"is no GeoJSON of polygons: a {kind} without {_HOLDERS[kind]}")
        yield from _geometries(inner)
        return
    yield content


def _rings(geometry: dict[str, Any]) -> list[Any]:
    """List the rings of each polygon of a geometry."""
    kind, polygons = geometry["type"], geometry.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon"):
        raise UnsoundError(f"a {one_line(kind, 40)} has no area")
    if kind == "Polygon":
        polygons = [polygons]
    if not isinstance(polygons, list) or not all(isinstance(p, list) and p for p in polygons):
        raise UnsoundError(f"is no GeoJSON of polygons: a {kind} without rings")
    return polygons


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
    # the slide's picture may reach a little beyond the slide: map centres, not corners
    rows = ((np.arange(shape[0]) + 0.5) * scale * height / dimensions[1]).astype(np.int64)
    columns = ((np.arange(shape[1]) + 0.5) * scale * width / dimensions[0]).astype(np.int64)
    rows, columns = np.minimum(rows, height - 1), np.minimum(columns, width - 1)
    return np.asarray(inside[np.ix_(rows, columns)])
