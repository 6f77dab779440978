"""The two classes of tumour: alike in colour and cellularity, unlike in their nuclei."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tcssa.synthetic.canvas import Canvas
from tcssa.synthetic.fields import Mask, smooth_noise
from tcssa.synthetic.glands import GlandLook, paint_glands
from tcssa.synthetic.nuclei import NucleusKind
from tcssa.synthetic.partition import depth_of, depth_within, nearest_centre, rounded
from tcssa.synthetic.placement import scatter
from tcssa.synthetic.sheets import paint_sheets
from tcssa.synthetic.spec import GLAND_FORMING, SOLID_PLEOMORPHIC


@dataclass(frozen=True)
class TumourClass:
    """Traits that distinguish a class of tumour.

    Attributes:
        kind: Appearance of its nuclei at a middling grade.
        glandular: Least and greatest share of the nests that form glands.
        rows: Rows of nuclei in those glands.
        nest: Distance between the middles of neighbouring nests, in pixels.
    """

    kind: NucleusKind
    glandular: tuple[float, float]
    rows: int
    nest: float


TUMOUR_CLASSES = {
    GLAND_FORMING: TumourClass(
        kind=NucleusKind(
            radius=7.0,
            spread=0.11,
            elongation=1.2,
            irregularity=0.035,
            darkness=1.0,
            clumping=0.18,
            grain=1.3,
            rim=0.18,
        ),
        glandular=(0.6, 1.0),
        rows=2,
        nest=135.0,
    ),
    SOLID_PLEOMORPHIC: TumourClass(
        kind=NucleusKind(
            radius=9.6,
            spread=0.26,
            elongation=1.6,
            irregularity=0.09,
            darkness=1.0,
            clumping=0.28,
            grain=1.8,
            rim=0.28,
            nucleoli=0.6,
        ),
        glandular=(0.0, 0.3),
        rows=1,
        nest=165.0,
    ),
}


@dataclass(frozen=True, eq=False)
class Tumour:
    """A tumour that has been laid out but not yet painted.

    Attributes:
        glands: Outlines of the nests that form glands, bool [H, W].
        sheets: Outlines of the solid nests, bool [H, W].
        kind: Appearance of its nuclei.
        rows: Rows of nuclei in its glands.
    """

    glands: Mask
    sheets: Mask
    kind: NucleusKind
    rows: int


def lay_out_tumour(
    rng: np.random.Generator, case_rng: np.random.Generator, label: str, region: Mask
) -> Tumour:
    """Divide the region of a tumour into nests and the stroma between them.

    Args:
        rng: Generator of the slide.
        case_rng: Generator of the case, which sets the grade.
        label: Class of the tumour.
        region: Where the tumour lies, bool [H, W].

    Returns:
        The tumour, ready to paint.
    """
    traits = TUMOUR_CLASSES[label]
    grade = float(np.clip(case_rng.normal(), -1.5, 1.5))
    share = case_rng.uniform(*traits.glandular)

    nest = traits.nest * rng.uniform(0.9, 1.15)
    centres = scatter(rng, np.ones_like(region), nest, 0.38)
    compartments = nearest_centre(rng, region.shape, centres, 0.12 * nest, 0.45 * nest)
    depth = np.minimum(depth_within(compartments), depth_of(region))
    septum = 6.0 + 2.5 * smooth_noise(rng, region.shape, 80.0)
    bodies = rounded(depth > septum, 5.0)

    forms_gland = (rng.random(int(compartments.max()) + 1) < share)[compartments]
    return Tumour(
        glands=bodies & forms_gland,
        sheets=bodies & ~forms_gland,
        kind=replace(traits.kind, radius=traits.kind.radius * (1 + 0.12 * grade)),
        rows=traits.rows,
    )


def paint_tumour(canvas: Canvas, rng: np.random.Generator, tumour: Tumour) -> None:
    """Paint a tumour over its stroma.

    Args:
        canvas: Canvas to paint on.
        rng: Source of randomness.
        tumour: The tumour, as `lay_out_tumour` returns it.
    """
    paint_sheets(canvas, rng, tumour.sheets, tumour.kind)
    paint_glands(canvas, rng, tumour.glands, GlandLook(tumour.kind, tumour.rows))
