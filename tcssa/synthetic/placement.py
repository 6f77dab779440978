"""Placement of cells: scattered over a region, or lined up along a boundary."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.synthetic.fields import Field, Mask

Points = NDArray[np.float32]


def scatter(
    rng: np.random.Generator,
    where: Mask,
    spacing: float,
    jitter: float,
    density: Field | None = None,
) -> Points:
    """Scatter points over a region, roughly ``spacing`` apart.

    Args:
        rng: Source of randomness.
        where: Region that may hold points, bool [H, W].
        spacing: Distance between neighbours, in pixels.
        jitter: How far a point strays from its place in an even lattice, in spacings.
        density: Chance that a point of the lattice is kept, 0..1, float32 [H, W]; all if None.

    Returns:
        Points as (x, y), float32 [N, 2].
    """
    height, width = where.shape
    # Rows of a hexagonal lattice lie closer together than its columns.
    rows, columns = np.mgrid[0 : height : spacing * 0.87, 0:width:spacing]
    columns = columns + spacing * 0.5 * (np.arange(len(columns)) % 2)[:, None]
    points = np.stack([columns.ravel(), rows.ravel()], axis=1)
    points = points + rng.uniform(-jitter, jitter, size=points.shape) * spacing
    chance = rng.random(len(points))
    inside = (points >= 0).all(axis=1) & (points[:, 0] < width) & (points[:, 1] < height)
    points, chance = points[inside], chance[inside]
    x, y = points.astype(np.intp).T
    kept = where[y, x] if density is None else where[y, x] & (chance < density[y, x])
    return np.asarray(points[kept], dtype=np.float32)


def along_edges(
    rng: np.random.Generator, region: Mask, spacing: float, jitter: float
) -> tuple[Points, NDArray[np.float32]]:
    """Line up points along the outlines of a region.

    Args:
        rng: Source of randomness.
        region: Region whose outlines to follow, bool [H, W].
        spacing: Distance between neighbours along an outline, in pixels.
        jitter: How far a point strays from its place, in pixels.

    Returns:
        Points as (x, y), float32 [N, 2], and the direction of the outline at each of them, in
        radians, float32 [N].
    """
    outlines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    points: list[NDArray[np.float64]] = [np.zeros((0, 2))]
    angles: list[NDArray[np.float64]] = [np.zeros(0)]
    for outline in outlines:
        path = outline[:, 0, :].astype(np.float64)
        number = int(len(path) * 1.1 / spacing)
        if number < 3:
            continue
        picks = (np.arange(number) * len(path) / number).astype(np.intp)
        ahead, behind = path[(picks + 2) % len(path)], path[picks - 2]
        points.append(path[picks])
        angles.append(np.arctan2(*(ahead - behind).T[::-1]))
    placed = np.concatenate(points)
    placed = placed + rng.normal(0.0, jitter, size=placed.shape)
    return placed.astype(np.float32), np.concatenate(angles).astype(np.float32)
