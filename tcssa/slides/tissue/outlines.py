"""Polygons from the user's GeoJSON, checked once and filled at a bounded cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FileError, one_line
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.limits import OUTLINE_PIXELS
from tcssa.files.text import read_json

_NUMBERS = {int, float}  # not bool, which is an int
_HOLDERS = {
    "FeatureCollection": "features",
    "Feature": "geometry",
    "GeometryCollection": "geometries",
}
_HINT = "export it from QuPath, or as TRIDENT writes it"
_MANY_POINTS = 64
_EDGE_COST, _CROSSING_COST = 10, 8
"""OpenCV draws a pixel of an edge in the time it takes to fill ten; on each row it sorts all edges
that cross it, which takes an eighth of a filled pixel's time for each two of them."""


@dataclass(frozen=True, eq=False)
class Outlines:
    """Polygons of a file, in level-0 pixels.

    Attributes:
        path: The file.
        points: All points (x, y) of all rings, ``[n, 2]``.
        ring_ends: Index just past the last point of each ring.
        num_rings: Number of rings of each polygon; the first is its outer ring, the others holes.
    """

    path: Path
    points: NDArray[np.float64]
    ring_ends: NDArray[np.int64]
    num_rings: list[int]


def read_outlines(path: Path, dimensions: tuple[int, int], error: type[FileError]) -> Outlines:
    """Read GeoJSON, as QuPath and TRIDENT write it.

    Args:
        path: A file of polygons in level-0 pixels, in features and collections or bare.
        dimensions: Width and height of the slide at level 0.
        error: Type of the error to raise.

    Raises:
        FileError: The file cannot be read, holds something other than polygons, or has a point
            further outside the slide than the slide is large; of the type ``error``.
    """
    content = read_json(path, error, top=(dict, list))
    with reading(path, error, hint=_HINT):
        return _outlines_of(path, content, dimensions)


def read_labelled_outlines(
    path: Path, dimensions: tuple[int, int], error: type[FileError]
) -> dict[str, Outlines]:
    """Read GeoJSON whose areas have classifications, as QuPath writes them.

    Areas without one are left out.

    Args:
        path: A feature collection, or a bare list of features.
        dimensions: Width and height of the slide at level 0.
        error: Type of the error to raise.

    Returns:
        The polygons of each classification, by its name.

    Raises:
        FileError: No area has a classification, or the file fails as in `read_outlines`; of the
            type ``error``.
    """
    content = read_json(path, error, top=(dict, list))
    with reading(path, error, hint=_HINT):
        features = content if isinstance(content, list) else content.get("features", [content])
        by_name: dict[str, list[Any]] = {}
        for feature in features if isinstance(features, list) else []:
            if (name := _classification(feature)) is not None:
                by_name.setdefault(name, []).append(feature)
        if not by_name:
            raise UnsoundError("has no area with a classification")
        return {name: _outlines_of(path, each, dimensions) for name, each in by_name.items()}


def _classification(feature: Any) -> str | None:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    found = properties.get("classification") if isinstance(properties, dict) else None
    name = found.get("name") if isinstance(found, dict) else found
    return name if isinstance(name, str) and name else None


def _outlines_of(path: Path, content: Any, dimensions: tuple[int, int]) -> Outlines:
    polygons = [rings for geometry in _geometries(content) for rings in _rings(geometry)]
    rings = [ring for polygon in polygons for ring in polygon]
    points = np.array([point for ring in rings for point in _points(ring)], np.float64)
    points = points.reshape(-1, 2)
    _require_near(points, dimensions)
    ends = np.cumsum([len(ring) for ring in rings], dtype=np.int64)
    return Outlines(path, points, ends, [len(polygon) for polygon in polygons])


def filled(
    outlines: Outlines, shape: tuple[int, int], scale: float, error: type[FileError]
) -> NDArray[np.bool_]:
    """Fill polygons on a picture of the slide, each within its own bounds.

    Where two polygons overlap there is tissue: a hole empties only its own polygon.

    Args:
        outlines: The polygons.
        shape: Height and width of the picture.
        scale: Level-0 pixels per picture pixel.
        error: Type of the error to raise.

    Returns:
        True inside the polygons, ``[h, w]``.

    Raises:
        FileError: Filling the polygons costs more than `OUTLINE_PIXELS` allows; of the type
            ``error``.
    """
    mask = np.zeros(shape, np.bool_)
    if not len(outlines.points):
        return mask
    points = np.rint(outlines.points / scale - 0.5).astype(np.int32)
    starts = np.concatenate([[0], outlines.ring_ends])
    lowest, highest = (bound.reduceat(points, starts[:-1]) for bound in (np.minimum, np.maximum))
    OUTLINE_PIXELS.require(_cost(points, starts, lowest, highest), outlines.path, error)
    spans = pairwise(starts.tolist())
    corners, ends = np.maximum(lowest, 0), np.minimum(highest + 1, shape[::-1])
    number = 0
    for num_rings in outlines.num_rings:
        outer, *holes = (points[begin:end] for begin, end in islice(spans, num_rings))
        (left, top), (right, bottom) = corners[number].tolist(), ends[number].tolist()
        number += num_rings
        if left >= right or top >= bottom:
            continue
        part = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(part, [outer - (left, top)], 1)
        for hole in holes:
            cv2.fillPoly(part, [hole - (left, top)], 0)
        mask[top:bottom, left:right] |= part > 0
    return mask


def _cost(
    points: NDArray[np.int32],
    starts: NDArray[np.int64],
    lowest: NDArray[np.int32],
    highest: NDArray[np.int32],
) -> int:
    """Estimate the time that filling takes, counted in filled pixels."""
    within = int(np.prod(highest.astype(np.int64) - lowest + 1, axis=1).sum())
    steps = np.abs(np.diff(points, axis=0))
    steps[starts[1:-1] - 1] = 0  # from one ring to the next
    edges = int(steps.sum(dtype=np.int64))
    crossings = 0
    for begin, end in pairwise(starts.tolist()):
        if end - begin > _MANY_POINTS:
            rows = points[begin:end, 1].astype(np.int64)
            first, last = np.minimum(rows, np.roll(rows, -1)), np.maximum(rows, np.roll(rows, -1))
            changes = np.zeros(int(np.ptp(rows)) + 2, np.int64)
            np.add.at(changes, first - rows.min(), 1)
            np.add.at(changes, last - rows.min(), -1)
            crossings += int((np.cumsum(changes) ** 2).sum())
    return within + _EDGE_COST * edges + crossings // _CROSSING_COST


def _require_near(points: NDArray[np.float64], dimensions: tuple[int, int]) -> None:
    """Require points that are finite and near the slide: far ones overflow as integers."""
    size = np.asarray(dimensions, np.float64)
    near = (np.abs(points - size / 2) <= 1.5 * size).all(axis=1)  # False of NaN
    if not near.all():
        x, y = points[int(np.argmin(near))]
        raise UnsoundError(
            f"the point ({x:g}, {y:g}) lies far outside of the slide, whose size is "
            f"{dimensions[0]} x {dimensions[1]}"
        )


def _geometries(content: Any) -> Iterator[dict[str, Any]]:
    """Yield the geometries with coordinates, out of all that GeoJSON nests them in."""
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


def _rings(geometry: dict[str, Any]) -> list[list[Any]]:
    """List the rings of each polygon of a geometry."""
    kind, polygons = geometry["type"], geometry.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon"):
        raise UnsoundError(f"a {one_line(kind, 40)} has no area")
    if kind == "Polygon":
        polygons = [polygons]
    if not isinstance(polygons, list) or not all(isinstance(p, list) and p for p in polygons):
        raise UnsoundError(f"is no GeoJSON of polygons: a {kind} without rings")
    return polygons


def _points(ring: Any) -> Iterator[tuple[float, float]]:
    """Yield the points (x, y) of a ring, without further coordinates that a point may have."""
    if not isinstance(ring, list) or not ring:
        raise UnsoundError("is no GeoJSON of polygons: a ring is no list of points")
    for point in ring:
        if not (isinstance(point, list) and len(point) >= 2 and {*map(type, point)} <= _NUMBERS):
            raise UnsoundError("is no GeoJSON of polygons: a point is no list of numbers")
        yield float(point[0]), float(point[1])
