"""Procedurally drawn H&E-like slides: the cohort that ``tcssa demo`` runs on without data."""

from tcssa.synthetic.cohort import cohort_specs, compose_cohort, compose_new_slide
from tcssa.synthetic.pyramid import write_pyramid
from tcssa.synthetic.slide import draw_slide
from tcssa.synthetic.spec import (
    GLAND_FORMING,
    LABELS,
    MPP,
    SOLID_PLEOMORPHIC,
    DrawnSlide,
    SlideSpec,
)

__all__ = [
    "GLAND_FORMING",
    "LABELS",
    "MPP",
    "SOLID_PLEOMORPHIC",
    "DrawnSlide",
    "SlideSpec",
    "cohort_specs",
    "compose_cohort",
    "compose_new_slide",
    "draw_slide",
    "write_pyramid",
]
