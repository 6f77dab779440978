"""Drawing one slide from its spec."""

from __future__ import annotations

import numpy as np

from tcssa.synthetic.canvas import Canvas, grown
from tcssa.synthetic.nuclei import press_nuclei
from tcssa.synthetic.spec import DrawnSlide, SlideSpec
from tcssa.synthetic.stains import draw_look, render
from tcssa.synthetic.stroma import fibre_direction, paint_stroma, scatter_cells
from tcssa.synthetic.structures import paint_fat, paint_structures, place_structures
from tcssa.synthetic.tissue import map_tissue
from tcssa.synthetic.tumour import lay_out_tumour, paint_tumour


def draw_slide(spec: SlideSpec) -> DrawnSlide:
    """Draw a slide; equal specs give identical pixels.

    Args:
        spec: The slide to draw.

    Returns:
        The pixels, uint8 [H, W, 3], with the masks of tissue, tumour and nuclei.
    """
    rng, case_rng = spec.slide_rng(), spec.case_rng()
    look = draw_look(case_rng, rng)
    where = map_tissue(rng, spec.shape_um)
    structures = place_structures(rng, where.tissue & ~(where.tumour | where.fat | where.lymphoid))
    tumour = lay_out_tumour(rng, case_rng, spec.label, where.tumour)
    bodies = tumour.glands | tumour.sheets | structures.vessels | structures.ducts

    canvas = Canvas.blank(spec.shape_um)
    direction = fibre_direction(rng, bodies)
    paint_stroma(canvas, rng, where.coverage, direction)
    paint_fat(canvas, rng, where.fat)
    paint_structures(canvas, rng, structures)
    paint_tumour(canvas, rng, tumour)
    scatter_cells(canvas, rng, where.tissue & ~where.fat & ~bodies, where.lymphoid, direction)
    haematoxylin, eosin = grown(canvas.haematoxylin, spec.shape), grown(canvas.eosin, spec.shape)
    nuclei = press_nuclei(haematoxylin, eosin, canvas.planted, rng)
    coverage = grown(where.coverage, spec.shape)
    tissue = coverage > 0.5
    nuclei[~tissue] = 0
    haematoxylin *= coverage
    eosin *= coverage
    region = grown(where.tumour.astype(np.float32), spec.shape) > 0.5
    return DrawnSlide(render(haematoxylin, eosin, look, rng), tissue, tissue & region, nuclei)
