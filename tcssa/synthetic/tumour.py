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
        nest: Distance between the middles of neighbouring nests, in micrometres.
    """

    kind: NucleusKind
    glandular: tuple[float, float]
    rows: int
    nest: float


TUMOUR_CLASSES = {
    GLAND_FORMING: TumourClass(
        NucleusKind(3.5, 0.11, 1.2, 0.035, 1.0, 0.18, 1.3, 0.18), (0.6, 1.0), rows=2, nest=67.5
    ),
    SOLID_PLEOMORPHIC: TumourClass(
        NucleusKind(4.8, 0.26, 1.6, 0.09, 1.0, 0.28, 1.8, 0.28, nucleoli=0.6),
        (0.0, 0.3),
        rows=1,
        nest=82.5,
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
    septum = 3.0 + 1.25 * smooth_noise(rng, region.shape, 40.0)
    bodies = rounded(depth > septum, 2.5)

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
