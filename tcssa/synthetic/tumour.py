"""The two classes of tumour: alike in colour and cellularity, unlike in their nuclei."""

from dataclasses import dataclass, replace

import numpy as np

from tcssa.synthetic.canvas import Canvas
from tcssa.synthetic.fields import Field, Mask, blurred, ramp, smooth_noise
from tcssa.synthetic.glands import GlandLook, paint_glands
from tcssa.synthetic.nuclei import NucleusKind, stamp_nuclei
from tcssa.synthetic.partition import Labels, depth_of, depth_within, nearest_centre, rounded
from tcssa.synthetic.placement import scatter
from tcssa.synthetic.spec import GLAND_FORMING

_REGULAR = NucleusKind(
    radius=6.4,
    spread=0.07,
    elongation=1.12,
    irregularity=0.025,
    darkness=1.0,
    clumping=0.12,
    grain=1.3,
    rim=0.12,
)
_PLEOMORPHIC = NucleusKind(
    radius=11.5,
    spread=0.3,
    elongation=1.6,
    irregularity=0.1,
    darkness=1.0,
    clumping=0.32,
    grain=2.0,
    rim=0.35,
    nucleoli=0.6,
)


@dataclass(frozen=True, eq=False)
class Tumour:
    """A tumour that has been laid out but not yet painted.

    Attributes:
        label: Class of the tumour.
        region: Where it lies, its own stroma included, bool [H, W].
        bodies: Its glands or nests, bool [H, W].
        kind: Appearance of its nuclei.
    """

    label: str
    region: Mask
    bodies: Mask
    kind: NucleusKind


def lay_out_tumour(
    rng: np.random.Generator, case_rng: np.random.Generator, label: str, region: Mask
) -> Tumour:
    """Divide the region of a tumour into glands or nests and the stroma between them.

    Args:
        rng: Generator of the slide.
        case_rng: Generator of the case, which sets the grade.
        label: Class of the tumour.
        region: Where the tumour lies, bool [H, W].

    Returns:
        The tumour, ready to paint.
    """
    grade = float(np.clip(case_rng.normal(), -1.5, 1.5))
    glandular = label == GLAND_FORMING
    kind = _REGULAR if glandular else _PLEOMORPHIC
    kind = replace(kind, radius=kind.radius * (1 + 0.08 * grade))
    spacing, warp = (132.0, 15.0) if glandular else (230.0, 30.0)
    centres = scatter(rng, np.ones_like(region), spacing * rng.uniform(0.9, 1.15), 0.38)
    compartments = nearest_centre(rng, region.shape, centres, warp, spacing * 0.45)
    depth = np.minimum(depth_within(compartments), depth_of(region))
    septum = 6.0 + 2.5 * smooth_noise(rng, region.shape, 80.0)
    return Tumour(label, region, rounded(depth > septum, 5.0), kind)


def paint_tumour(canvas: Canvas, rng: np.random.Generator, tumour: Tumour) -> None:
    """Paint a tumour over its stroma.

    Args:
        canvas: Canvas to paint on.
        rng: Source of randomness.
        tumour: The tumour as laid out.
    """
    if tumour.label == GLAND_FORMING:
        look = GlandLook(tumour.kind, rows=2, spacing=16.0, thickness=(34.0, 44.0), jitter=0.9)
        paint_glands(canvas, rng, tumour.bodies, look)
    else:
        _paint_sheets(canvas, rng, tumour)


def _paint_sheets(canvas: Canvas, rng: np.random.Generator, tumour: Tumour) -> None:
    shape = tumour.bodies.shape
    depth = depth_of(tumour.bodies)
    crowding = 0.9 + 0.1 * smooth_noise(rng, shape, 90.0)
    centres = scatter(rng, depth > tumour.kind.radius * 0.8, 31.0, 0.3, crowding)
    cells = nearest_centre(rng, shape, centres, 2.0, 12.0)
    border = depth_within(cells)

    membrane = 1.0 - ramp(border, 0.5, 2.5)
    cytoplasm = 0.34 + 0.05 * smooth_noise(rng, shape, 7.0) + _tint(rng, cells)
    canvas.cover(np.clip(depth / 2.0, 0, 1), 0.13 + 0.03 * membrane, cytoplasm + 0.12 * membrane)

    # Cells that cling poorly come apart: as much bare glass as the lumens of glands show.
    apart = np.clip(4.0 * smooth_noise(rng, shape, 60.0) - 0.5, 0.0, 4.5)
    clefts = blurred((tumour.bodies & (border < apart)).astype(np.float32), 1.2)
    canvas.cover(clefts, 0.01, 0.05)
    stamp_nuclei(canvas, rng, tumour.kind, centres)


def _tint(rng: np.random.Generator, cells: Labels) -> Field:
    """Give each cell's cytoplasm its own depth of colour."""
    tints = rng.normal(0.0, 0.05, size=int(cells.max()) + 1).astype(np.float32)
    return np.asarray(tints[cells], dtype=np.float32)
