"""Connective tissue and the cells that wander in it, the same for every class."""

from __future__ import annotations

import cv2
import numpy as np

from tcssa.synthetic.canvas import Canvas
from tcssa.synthetic.fields import Field, Mask, blurred, fibres, fractal_noise, ramp, smooth_noise
from tcssa.synthetic.nuclei import FIBROBLAST, LYMPHOCYTE
from tcssa.synthetic.partition import tangent
from tcssa.synthetic.placement import scatter


def fibre_direction(rng: np.random.Generator, bodies: Mask) -> Field:
    """Choose where the fibres run: along slow waves, and round the glands and nests.

    Args:
        rng: Source of randomness.
        bodies: Glands, nests and vessels that the fibres wrap around, bool [H, W].

    Returns:
        Direction of the fibres, in radians, float32 [H, W].
    """
    waves = rng.uniform(0, np.pi) + 0.9 * fractal_noise(rng, bodies.shape, 210.0, octaves=3)
    vicinity = blurred(bodies.astype(np.float32), 7.0)
    around = tangent(vicinity)
    weight = ramp(vicinity, 0.02, 0.25)
    # Fibres have no head or tail: directions mix as doubled angles.
    sine = (1 - weight) * np.sin(2 * waves) + weight * np.sin(2 * around)
    cosine = (1 - weight) * np.cos(2 * waves) + weight * np.cos(2 * around)
    return np.asarray(cv2.phase(cosine, sine) / 2, dtype=np.float32)


def paint_stroma(
    canvas: Canvas, rng: np.random.Generator, coverage: Field, direction: Field
) -> None:
    """Paint collagen: bundles of eosin-stained fibres with clefts between them.

    Args:
        canvas: Canvas to paint on.
        rng: Source of randomness.
        coverage: Share of each pixel that is tissue, float32 [H, W].
        direction: Direction of the fibres, in radians, float32 [H, W].
    """
    shape = coverage.shape
    threads = fibres(rng, direction, 1)
    bundles = fibres(rng, direction, 3)
    looseness = smooth_noise(rng, shape, 130.0)
    eosin = 0.46 + 0.07 * fractal_noise(rng, shape, 90.0, octaves=3)
    eosin += 0.055 * threads + 0.07 * bundles
    clefts = ramp(bundles + 0.35 * looseness + 0.25 * threads, 1.1, 2.0)
    eosin = np.maximum(eosin * (1 - 0.85 * clefts), 0.04).astype(np.float32)
    haematoxylin = (0.07 - 0.05 * clefts + 0.012 * threads).astype(np.float32)
    canvas.cover(coverage, np.maximum(haematoxylin, np.float32(0)), eosin)


def scatter_cells(
    canvas: Canvas,
    rng: np.random.Generator,
    stroma: Mask,
    lymphoid: Mask,
    direction: Field,
) -> None:
    """Scatter fibroblasts along the fibres, and lymphocytes singly and in aggregates.

    Args:
        canvas: Canvas to draw on.
        rng: Source of randomness.
        stroma: Where connective tissue lies open, bool [H, W].
        lymphoid: Aggregates of lymphocytes, bool [H, W].
        direction: Direction of the fibres, in radians, float32 [H, W].
    """
    shape = stroma.shape
    cellular = 0.45 + 0.25 * smooth_noise(rng, shape, 75.0)
    places = scatter(rng, stroma & ~lymphoid, 15.0, 0.5, cellular)
    x, y = places.astype(np.intp).T
    canvas.plant(FIBROBLAST, places, direction[y, x])

    inflamed = 0.18 * ramp(fractal_noise(rng, shape, 85.0, octaves=3), 0.3, 2.0) + 0.006
    canvas.plant(LYMPHOCYTE, scatter(rng, stroma, 7.0, 0.4, inflamed))

    gathered = 0.86 * blurred(lymphoid.astype(np.float32), 6.0)
    packed = scatter(rng, stroma & (gathered > 0.05), 6.5, 0.3, gathered)
    canvas.plant(LYMPHOCYTE, packed)
