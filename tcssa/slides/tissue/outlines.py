"""Polygons that are filled at a bounded cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FileError
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.limits import OUTLINE_PIXELS
from tcssa.slides.tissue.geojson import HINT, Polygon, read_drawing

_MANY_POINTS = 64
_EDGE_COST, _CROSSING_COST = 10, 8
"""OpenCV draws a pixel of an edge in the time it takes to fill ten; on each row it sorts all edges
that cross it, which takes an eighth of a filled pixel's time for each two of them."""
_SAID_EVERY = 10_000


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

    @classmethod
    def of(cls, path: Path, polygons: Sequence[Polygon]) -> Outlines:
        """Make outlines of the polygons of a file."""
        rings = [ring for polygon in polygons for ring in polygon]
        points = np.concatenate(rings) if rings else np.empty((0, 2))
        ends = np.cumsum([len(ring) for ring in rings], dtype=np.int64)
        return cls(path, points, ends, [len(polygon) for polygon in polygons])

    def moved(self, x: float, y: float) -> Outlines:
        """Return the same polygons, moved to the right and down."""
        return replace(self, points=self.points + np.array([x, y]))

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the lowest and the highest x and y of each polygon's outer ring, ``[n, 2]``."""
        if not self.num_rings:
            return np.empty((0, 2)), np.empty((0, 2))
        starts = np.concatenate([[0], self.ring_ends[:-1]])
        outer = np.cumsum([0, *self.num_rings[:-1]])
        lowest, highest = (f.reduceat(self.points, starts) for f in (np.minimum, np.maximum))
        return lowest[outer], highest[outer]


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
        FileError: The file cannot be read, no area has a classification, or a point lies further
            outside the slide than the slide is large; of the type ``error``.
    """
    drawing = read_drawing(path, error)
    found = {
        name: Outlines.of(path, polygons)
        for name, polygons in drawing.by_class.items()
        if name is not None
    }
    with reading(path, error, hint=HINT):
        if not found:
            raise UnsoundError("has no area with a classification")
        for outlines in found.values():
            require_near(outlines, dimensions)
    return found


def require_near(outlines: Outlines, dimensions: tuple[int, int]) -> None:
    """Require points that are finite and near the slide: far ones overflow as integers.

    Args:
        outlines: The polygons.
        dimensions: Width and height of the slide at level 0.

    Raises:
        UnsoundError: A point lies further outside the slide than the slide is large.
    """
    size = np.asarray(dimensions, np.float64)
    near = (np.abs(outlines.points - size / 2) <= 1.5 * size).all(axis=1)  # False of NaN
    if not near.all():
        x, y = outlines.points[int(np.argmin(near))]
        raise UnsoundError(
            f"the point ({x:g}, {y:g}) lies far outside of the slide, whose size is "
            f"{dimensions[0]} x {dimensions[1]}"
        )


def filled(
    outlines: Outlines,
    shape: tuple[int, int],
    scale: float,
    error: type[FileError],
    *,
    say: Callable[[str], None] = lambda text: None,
) -> NDArray[np.bool_]:
    """Fill polygons on a picture of the slide, each within its own bounds.

    Where two polygons overlap there is tissue: a hole empties only its own polygon.

    Args:
        outlines: The polygons.
        shape: Height and width of the picture.
        scale: Level-0 pixels per picture pixel.
        error: Type of the error to raise.
        say: Told how many are filled, where there are many.

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
    corners, ends = np.maximum(lowest, 0).tolist(), np.minimum(highest + 1, shape[::-1]).tolist()
    number = 0
    for done, num_rings in enumerate(outlines.num_rings):
        if done and done % _SAID_EVERY == 0:
            say(f"{done:,} of {len(outlines.num_rings):,} outlines")
        outer, *holes = (points[begin:end] for begin, end in islice(spans, num_rings))
        (left, top), (right, bottom) = corners[number], ends[number]
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
