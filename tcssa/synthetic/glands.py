"""Glands: rings of epithelium with basal nuclei round a lumen."""

from dataclasses import dataclass

import numpy as np

from tcssa.synthetic.canvas import Canvas
from tcssa.synthetic.fields import Mask, blurred, ramp, smooth_noise
from tcssa.synthetic.nuclei import NucleusKind, stamp_nuclei
from tcssa.synthetic.partition import depth_of, rounded
from tcssa.synthetic.placement import along_edges

_BASAL = 9.0
_ROW = 15.0


@dataclass(frozen=True)
class GlandLook:
    """How the epithelium of a gland is built.

    Attributes:
        kind: Appearance of its nuclei.
        rows: How many rows of nuclei lie upon each other.
        spacing: Distance between neighbouring nuclei of a row, in pixels.
        thickness: Least and greatest height of the epithelium, in pixels.
        jitter: How far a nucleus strays from its row, in pixels.
    """

    kind: NucleusKind
    rows: int
    spacing: float
    thickness: tuple[float, float]
    jitter: float


def paint_glands(canvas: Canvas, rng: np.random.Generator, bodies: Mask, look: GlandLook) -> None:
    """Fill outlines with epithelium, a lumen and rows of nuclei along the base.

    Args:
        canvas: Canvas to paint on.
        rng: Source of randomness.
        bodies: Outlines of the glands, bool [H, W].
        look: How their epithelium is built.
    """
    depth = depth_of(bodies)
    low, high = look.thickness
    height = (low + high) / 2 + (high - low) / 4 * smooth_noise(rng, bodies.shape, 90.0)
    lumen = rounded(depth > height, 3.0)

    cytoplasm = 0.36 + 0.05 * smooth_noise(rng, bodies.shape, 7.0)
    cytoplasm += 0.05 * smooth_noise(rng, bodies.shape, 120.0)
    # Cytoplasm is palest next to the lumen, where mucin gathers.
    cytoplasm -= 0.12 * ramp(depth / height, 0.55, 1.0)
    canvas.cover(np.clip(depth / 2.0, 0, 1), 0.13, np.maximum(cytoplasm, 0.05))

    secretion = 0.09 * ramp(smooth_noise(rng, bodies.shape, 45.0), 0.0, 1.6)
    secretion += 0.02 + 0.02 * np.abs(smooth_noise(rng, bodies.shape, 5.0))
    canvas.cover(blurred(lumen.astype(np.float32), 1.0), 0.01, secretion)

    solid = bodies & ~lumen
    for row in range(look.rows):
        level = depth > _BASAL + _ROW * row
        places, angles = along_edges(rng, level, look.spacing, look.jitter)
        x, y = np.clip(places.astype(np.intp), 0, np.array(bodies.shape)[::-1] - 1).T
        fits = solid[y, x]
        # The long axis of a basal nucleus points at the lumen.
        stamp_nuclei(canvas, rng, look.kind, places[fits], angles[fits] + np.float32(np.pi / 2))
