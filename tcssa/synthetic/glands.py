"""Glands: rings of epithelium with basal nuclei round a lumen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcssa.synthetic.canvas import Canvas
from tcssa.synthetic.fields import Mask, blurred, ramp, smooth_noise
from tcssa.synthetic.nuclei import NucleusKind
from tcssa.synthetic.partition import depth_of, rounded
from tcssa.synthetic.placement import along_edges

# Lengths of the epithelium in radii of its nuclei.
_BASE = 1.4
_ROW = 2.35
_APEX = 1.7
_SPACING = 2.6
_STRAY = 0.15


@dataclass(frozen=True)
class GlandLook:
    """Composition of the epithelium of a gland.

    Attributes:
        kind: Appearance of its nuclei, whose radius sets the size of its cells.
        rows: Number of rows of nuclei, one on top of the other.
        crowding: Density of the nuclei in a row; 1 leaves a little room between them.
    """

    kind: NucleusKind
    rows: int
    crowding: float = 1.0


def paint_glands(canvas: Canvas, rng: np.random.Generator, bodies: Mask, look: GlandLook) -> None:
    """Fill outlines with epithelium, a lumen and rows of nuclei along the base.

    Args:
        canvas: Canvas to paint on.
        rng: Source of randomness.
        bodies: Outlines of the glands, bool [H, W].
        look: Composition of their epithelium.
    """
    if not bodies.any():
        return
    shape, radius = bodies.shape, look.kind.radius
    depth = depth_of(bodies)
    mean_height = radius * (_BASE + _ROW * (look.rows - 1) + _APEX + 1.0)
    height = mean_height * (1 + 0.08 * smooth_noise(rng, shape, 45.0))
    lumen = rounded(depth > height, 1.5)

    cytoplasm = 0.36 + 0.05 * smooth_noise(rng, shape, 3.5) + 0.05 * smooth_noise(rng, shape, 60.0)
    # Cytoplasm is palest next to the lumen, where mucin gathers.
    cytoplasm -= 0.12 * ramp(depth / height, 0.55, 1.0)
    canvas.cover(np.clip(depth, 0, 1), 0.13, np.maximum(cytoplasm, 0.05))

    secretion = 0.09 * ramp(smooth_noise(rng, shape, 22.0), 0.0, 1.6)
    secretion += 0.02 + 0.02 * np.abs(smooth_noise(rng, shape, 2.5))
    canvas.cover(blurred(lumen.astype(np.float32), 0.5), 0.01, secretion)

    for row in range(look.rows):
        level = depth > radius * (_BASE + _ROW * row)
        spacing = radius * _SPACING / look.crowding
        places, angles = along_edges(rng, level, spacing, radius * _STRAY)
        x, y = np.clip(places.astype(np.intp), 0, (shape[1] - 1, shape[0] - 1)).T
        fits = bodies[y, x] & ~lumen[y, x]
        # The long axis of a basal nucleus points at the lumen.
        upright = angles[fits] + np.float32(np.pi / 2)
        canvas.plant(look.kind, places[fits], upright)
