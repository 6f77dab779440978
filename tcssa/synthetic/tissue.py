"""The map of a slide: the outline of the tissue, and the kinds of tissue within it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcssa.synthetic.fields import Field, Mask, fractal_noise, ramp, top_share
from tcssa.synthetic.partition import depth_of, rounded

# Nuclei are not drawn across the border of the slide, so that tissue must end before it.
_MARGIN = 14


@dataclass(frozen=True, eq=False)
class TissueMap:
    """Kinds of tissue on a slide, pixel by pixel.

    Attributes:
        coverage: Share of each pixel that is tissue, soft at the outline, float32 [H, W].
        tissue: Where there is tissue, bool [H, W].
        tumour: Where the tumour lies, its own stroma included, bool [H, W].
        fat: Lobules of fat, bool [H, W].
        lymphoid: Aggregates of lymphocytes, bool [H, W].
    """

    coverage: Field
    tissue: Mask
    tumour: Mask
    fat: Mask
    lymphoid: Mask


def map_tissue(rng: np.random.Generator, shape: tuple[int, int]) -> TissueMap:
    """Draw the map of a slide; nothing in it depends on the slide's class.

    Args:
        rng: Source of randomness.
        shape: Rows and columns of the slide, in micrometres.

    Returns:
        The map. Tumour takes 5-13 % of the tissue, so that a slide is told by a few of its patches;
        fat takes up to 18 %.
    """
    coverage = _outline(rng, shape)
    tissue = coverage > 0.5
    depth = np.minimum(depth_of(tissue) / 75.0, 1.0)

    relief = fractal_noise(rng, shape, 230.0, octaves=4) + 0.8 * depth
    tumour = rounded(top_share(relief, tissue, rng.uniform(0.06, 0.15)), 6.0)

    free = tissue & ~tumour
    fatty = fractal_noise(rng, shape, 210.0, octaves=3) - 0.8 * depth
    # Rounding closes the tears again: in fat, which is empty, none would show.
    fat = rounded(top_share(fatty, free, rng.uniform(0.0, 0.2)), 7.0) & ~tumour

    free &= ~fat
    crowded = fractal_noise(rng, shape, 75.0, octaves=2) + 0.5 * ramp(relief, 0.0, 1.5)
    lymphoid = rounded(top_share(crowded, free, rng.uniform(0.01, 0.12)), 3.0) & free
    return TissueMap(coverage, tissue, tumour, fat, lymphoid)


def _outline(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    height, width = shape
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)
    extent_x, extent_y = rng.uniform(0.86, 0.95, size=2).astype(np.float32)
    lean = rng.uniform(-0.12, 0.12, size=2).astype(np.float32)
    x = np.abs(columns + lean[0] * rows) / extent_x
    y = np.abs(rows + lean[1] * columns) / extent_y
    rim = 1.0 - (x**3 + y**3) ** (1 / 3)
    rim += 0.11 * fractal_noise(rng, shape, min(shape) * 0.3, octaves=4)
    rim += 0.006 * fractal_noise(rng, shape, 7.0, octaves=2)

    edge_y = np.minimum(np.arange(height), np.arange(height)[::-1])[:, None]
    edge_x = np.minimum(np.arange(width), np.arange(width)[::-1])[None, :]
    border = (np.minimum(edge_y, edge_x) - _MARGIN) / 150.0
    rim = np.minimum(rim, border - 0.05 * np.abs(fractal_noise(rng, shape, 80.0)))

    # Sectioning tears tissue along a few thin lines, where a slow noise changes its sign.
    tear = np.abs(fractal_noise(rng, shape, 190.0, octaves=4))
    gape = 0.05 * ramp(fractal_noise(rng, shape, 130.0, octaves=2), 1.2, 2.8)
    rim = np.where(gape > 0.0, np.minimum(rim, (tear - gape) * 0.5), rim)
    return ramp(rim.astype(np.float32), -0.004, 0.004)
