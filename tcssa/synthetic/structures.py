"""Normal structures that lie in the stroma of every class: fat, vessels and ducts."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tcssa.synthetic.canvas import Canvas
from tcssa.synthetic.fields import Field, Mask, blurred, smooth_noise
from tcssa.synthetic.glands import GlandLook, paint_glands
from tcssa.synthetic.nuclei import DUCT_EPITHELIUM, ENDOTHELIUM, FIBROBLAST
from tcssa.synthetic.partition import depth_of, depth_within, nearest_centre, rounded, tangent
from tcssa.synthetic.placement import along_edges, scatter

_GRID = 4  # blobs are placed on every fourth pixel
_DUCT = GlandLook(DUCT_EPITHELIUM, rows=1, crowding=1.2)


@dataclass(frozen=True, eq=False)
class Structures:
    """Outlines of the normal structures of a slide, each bool [H, W]."""

    vessels: Mask
    ducts: Mask


def place_structures(rng: np.random.Generator, free: Mask) -> Structures:
    """Choose places for a few vessels and ducts.

    Args:
        rng: Source of randomness.
        free: Stroma without tumour, fat or lymphocytes, bool [H, W].

    Returns:
        Their outlines.
    """
    # About one vessel to 0.06 square millimetres of stroma. Slides differ widely in their ducts,
    # so that their number tells nothing about the tumour.
    area = int(np.count_nonzero(free))
    vessels = _blobs(rng, free, 1 + area // 60_000, (8.0, 26.0))
    remaining = free & ~vessels
    number = int(rng.poisson(area / 75_000 * rng.uniform(0.0, 2.5)))
    ducts = _blobs(rng, remaining, number, (24.0, 45.0))
    return Structures(vessels, ducts)


def _blobs(rng: np.random.Generator, free: Mask, number: int, radii: tuple[float, float]) -> Mask:
    """Draw bent ellipses that keep clear of each other and of everything outside ``free``."""
    drawn = np.zeros(free.shape, dtype=np.float32)
    # A border of zeros keeps blobs away from the edge of the slide, too.
    room = depth_of(np.pad(free, 1))[1:-1:_GRID, 1:-1:_GRID]
    y, x = np.ogrid[: free.shape[0] : _GRID, : free.shape[1] : _GRID]
    for _ in range(number):
        radius = rng.uniform(*radii)
        rows, columns = np.nonzero(room > radius * 1.15)
        if len(rows) == 0:
            continue
        pick = rng.integers(len(rows))
        centre = (int(columns[pick]) * _GRID, int(rows[pick]) * _GRID)
        axes = (int(radius), int(radius * rng.uniform(0.55, 1.0)))
        cv2.ellipse(drawn, centre, axes, rng.uniform(0, 180), 0, 360, 1.0, -1)
        gap = np.hypot(x - centre[0], y - centre[1]) - radius
        room = np.minimum(room, gap)
    bends = 0.2 * smooth_noise(rng, free.shape, 18.0)
    soft = blurred(drawn, 3.5)
    # Bends shift an outline; far from one, they would make specks and holes of their own.
    outline = 4.0 * soft * (1.0 - soft)
    return np.asarray((soft + bends * outline > 0.5) & free, dtype=np.bool_)


def paint_structures(canvas: Canvas, rng: np.random.Generator, structures: Structures) -> None:
    """Paint vessels and ducts over the stroma.

    Args:
        canvas: Canvas to paint on.
        rng: Source of randomness.
        structures: Outlines of the vessels and ducts.
    """
    _paint_vessels(canvas, rng, structures.vessels)
    paint_glands(canvas, rng, structures.ducts, _DUCT)


def _paint_vessels(canvas: Canvas, rng: np.random.Generator, vessels: Mask) -> None:
    depth = depth_of(vessels)
    wall = np.clip(depth, 0, 1)
    canvas.cover(wall, 0.1, 0.6 + 0.05 * smooth_noise(rng, vessels.shape, 3.0))
    lumen = rounded(depth > 4.5, 1.0)
    canvas.cover(blurred(lumen.astype(np.float32), 0.4), 0.0, 0.03)

    cells = np.zeros(vessels.shape, dtype=np.uint8)
    filling = 0.5 + 0.4 * smooth_noise(rng, vessels.shape, 45.0)
    for x, y in scatter(rng, depth > 7.5, 6.5, 0.35, filling):
        cv2.circle(cells, (round(x * 16), round(y * 16)), 44, 255, -1, cv2.LINE_AA, 4)
    # A red cell is a disc with a paler middle.
    discs: Field = cells.astype(np.float32) / np.float32(255)
    canvas.cover(discs, 0.0, 0.85 - 0.2 * blurred(discs, 1.25))

    places, angles = along_edges(rng, depth > 3.5, 13.0, 0.5)
    canvas.plant(ENDOTHELIUM, places, angles)


def paint_fat(canvas: Canvas, rng: np.random.Generator, fat: Mask) -> None:
    """Paint fat: large empty cells between thin membranes.

    Args:
        canvas: Canvas to paint on.
        rng: Source of randomness.
        fat: Lobules of fat, bool [H, W].
    """
    if not fat.any():
        return
    centres = scatter(rng, np.ones_like(fat), 52.0, 0.42)
    cells = nearest_centre(rng, fat.shape, centres, 2.5, 15.0)
    depth = np.minimum(depth_within(cells), depth_of(fat))
    membrane: Field = 1.2 + 0.4 * smooth_noise(rng, fat.shape, 12.5)
    hollow = rounded(depth > membrane, 0.6)
    canvas.cover(blurred(hollow.astype(np.float32), 0.35), 0.0, 0.015)

    places = scatter(rng, fat & ~hollow, 20.0, 0.5)
    direction = tangent(blurred(depth, 1.5))
    x, y = places.astype(np.intp).T
    canvas.plant(FIBROBLAST, places, direction[y, x])
