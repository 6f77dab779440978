"""Composing the demo cohort: slides on disk and the table of their labels."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import openslide

from tcssa.files.atomic import write_csv
from tcssa.synthetic.pyramid import write_pyramid
from tcssa.synthetic.slide import draw_slide
from tcssa.synthetic.spec import LABELS, MPP, SlideSpec

# Of every twelve slides, these come from the same case as the slide two before them. Labels
# alternate, so that such a pair has one label.
_SECOND_SLIDES = (2, 5)
_PERIOD = 12
_SIDE_BY_SIDE = 2
"""Slides drawn at once; each takes 150 MB."""


def cohort_specs(num_slides: int, seed: int = 0) -> list[SlideSpec]:
    """List the slides of a cohort; the first ones are the same in every larger cohort.

    Args:
        num_slides: Number of slides in the cohort.
        seed: Seed of the cohort.

    Returns:
        One spec per slide, labels alternating. A sixth of the slides are the second of a case.
    """
    cases: list[int] = []
    for index in range(num_slides):
        second = index % _PERIOD in _SECOND_SLIDES
        cases.append(cases[index - 2] if second else max(cases, default=-1) + 1)
    return [
        SlideSpec(index=index, label=LABELS[index % 2], case=case, seed=seed)
        for index, case in enumerate(cases)
    ]


def compose_cohort(
    folder: Path,
    *,
    num_slides: int = 40,
    seed: int = 0,
    on_slide: Callable[[str], None] | None = None,
) -> Path:
    """Draw a cohort of synthetic slides, or those that are still missing.

    Slides go to ``slides/DEMO-<index>.tif``, and ``labels.csv`` (case_id, slide_id, label) is
    written when all of them exist. A slide that an earlier run of the same seed wrote is kept.

    Args:
        folder: Folder of the cohort; created if it does not exist.
        num_slides: Number of slides in the cohort.
        seed: Seed of the cohort.
        on_slide: Called with each slide_id as soon as that slide exists.

    Returns:
        Path of ``labels.csv``.
    """
    slides = folder / "slides"
    slides.mkdir(parents=True, exist_ok=True)
    specs = cohort_specs(num_slides, seed)
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:  # OpenCV and NumPy let other threads work
        for spec, _ in zip(specs, pool.map(partial(_draw, slides), specs), strict=True):
            if on_slide is not None:
                on_slide(slide_id(spec))
    labels = folder / "labels.csv"
    rows = ([f"CASE-{spec.case:03d}", slide_id(spec), spec.label] for spec in specs)
    write_csv(labels, ["case_id", "slide_id", "label"], rows)
    return labels


def compose_new_slide(folder: Path, *, num_slides: int, seed: int = 0) -> tuple[Path, SlideSpec]:
    """Draw a slide of a patient that a cohort does not have, unless it is there.

    Args:
        folder: Folder to write it to; created if it does not exist.
        num_slides: Number of slides in the cohort.
        seed: Seed of the cohort.

    Returns:
        The file, and what was drawn.
    """
    cohort = cohort_specs(num_slides, seed)
    known = {spec.case for spec in cohort}
    later = cohort_specs(num_slides + _PERIOD, seed)[num_slides:]
    new = next(spec for spec in later if spec.case not in known)
    folder.mkdir(parents=True, exist_ok=True)
    return _draw(folder, new), new


def _draw(folder: Path, spec: SlideSpec) -> Path:
    """Write a slide, unless it is there."""
    path = folder / f"{slide_id(spec)}.tif"
    if _description_of(path) != _description(spec):
        write_pyramid(path, draw_slide(spec).pixels, MPP, _description(spec))
    return path


def slide_id(spec: SlideSpec) -> str:
    """Name a slide of the cohort, e.g. ``DEMO-007``."""
    return f"DEMO-{spec.index:03d}"


def _description(spec: SlideSpec) -> str:
    return f"tcssa synthetic slide, seed {spec.seed}, slide {spec.index}, not a patient's tissue"


def _description_of(path: Path) -> str | None:
    """Read the description of the slide in a file; None if there is no readable slide."""
    if not path.exists():
        return None
    try:
        with openslide.OpenSlide(path) as slide:
            return slide.properties.get("tiff.ImageDescription")
    except openslide.OpenSlideError:
        return None
