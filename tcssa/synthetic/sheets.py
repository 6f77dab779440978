"""Sheets: solid nests of tumour cells that lie side by side."""

from __future__ import annotations

import numpy as np

from tcssa.synthetic.canvas import Canvas
from tcssa.synthetic.fields import Field, Mask, blurred, ramp, smooth_noise
from tcssa.synthetic.nuclei import NucleusKind
from tcssa.synthetic.partition import Labels, depth_of, depth_within, nearest_centre
from tcssa.synthetic.placement import scatter

# Lengths in radii of the nuclei.
_SPACING = 2.5
_EDGE = 0.8
_CLEFT = 0.22


def paint_sheets(canvas: Canvas, rng: np.random.Generator, bodies: Mask, kind: NucleusKind) -> None:
    """Fill outlines with cells, each with its membrane and its nucleus.

    Args:
        canvas: Canvas to paint on.
        rng: Source of randomness.
        bodies: Outlines of the nests, bool [H, W].
        kind: Appearance of the nuclei, whose radius sets the size of the cells.
    """
    if not bodies.any():
        return
    shape = bodies.shape
    depth = depth_of(bodies)
    crowding = 0.9 + 0.1 * smooth_noise(rng, shape, 45.0)
    room = depth > kind.radius * _EDGE
    centres = scatter(rng, room, kind.radius * _SPACING, 0.3, crowding)
    cells = nearest_centre(rng, shape, centres, 1.0, 6.0)
    border = depth_within(cells)

    membrane = 1.0 - ramp(border, 0.25, 1.25)
    cytoplasm = 0.34 + 0.05 * smooth_noise(rng, shape, 3.5) + _tint(rng, cells)
    cytoplasm += 0.12 * membrane
    canvas.cover(np.clip(depth, 0, 1), 0.13 + 0.03 * membrane, cytoplasm)

    # Cells that cling poorly come apart: as much bare glass as the lumens of glands show.
    apart = kind.radius * _CLEFT * np.clip(smooth_noise(rng, shape, 30.0) - 0.15, 0.0, 1.0)
    clefts = blurred((bodies & (border < apart)).astype(np.float32), 0.6)
    canvas.cover(clefts, 0.01, 0.05)
    canvas.plant(kind, centres)


def _tint(rng: np.random.Generator, cells: Labels) -> Field:
    """Give each cell's cytoplasm its own depth of colour."""
    tints = rng.normal(0.0, 0.05, size=int(cells.max()) + 1).astype(np.float32)
    return np.asarray(tints[cells], dtype=np.float32)
