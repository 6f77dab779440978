"""Masks that are outlines: which of them are tissue, and which holes or off the slide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import compress
from pathlib import Path

import numpy as np

from tcssa.files.boundary import reading
from tcssa.slides.tissue.geojson import HINT, Drawing, Polygon, read_drawing
from tcssa.slides.tissue.ground import Ground, MaskError, MaskRules, Origin, Reading
from tcssa.slides.tissue.outlines import Outlines, filled, require_near

_IGNORED = "ignore"
"""How names of QuPath's classes begin whose areas are left out: ``Ignore*``."""
_MANY = 10_000
_MANY_BYTES = 10_000_000
_MOST_NAMES = 8


def read_outline_mask(
    path: Path, ground: Ground, rules: MaskRules, say: Callable[[str], None]
) -> list[Reading]:
    """Read outlines as a mask, for each corner that they may count from.

    Args:
        path: The GeoJSON.
        ground: The slide.
        rules: How masks are read.
        say: Told how far it is, where this takes seconds.

    Raises:
        MaskError: The file cannot be read, nothing in it has an area, all outlines lie off the
            slide, or one has a point far outside of it.
    """
    num_bytes = path.stat().st_size
    if num_bytes >= _MANY_BYTES:
        say(f"reading {num_bytes / 1e6:.0f} MB of outlines")
    drawing = read_drawing(path, MaskError)
    num_areas = sum(map(len, drawing.by_class.values()))
    if num_areas == 0 and drawing.passed_over:
        raise MaskError(
            path, f"nothing in it has an area: {drawing.describe_passed_over()}", hint=HINT
        )
    if num_areas >= _MANY:
        say(f"{num_areas:,} outlines")
    holes = [name for name in drawing.by_class if _is_hole(name, rules)]
    wanted = [name for name in drawing.by_class if name not in holes and _is_wanted(name, rules)]
    found: list[Reading] = []
    refusals: list[MaskError] = []
    for origin in ground.origins(rules.origin):
        try:
            found.append(_read_from(origin, drawing, wanted, holes, ground, say))
        except MaskError as refusal:
            refusals.append(refusal)
    if not found:
        raise refusals[-1]
    remarks = _remarks(drawing, wanted, holes, rules)
    return [replace(each, remarks=(*remarks, *each.remarks)) for each in found]


def _is_hole(name: str | None, rules: MaskRules) -> bool:
    is_ignored = name is not None and name.casefold().startswith(_IGNORED)
    return is_ignored and name not in rules.classes


def _is_wanted(name: str | None, rules: MaskRules) -> bool:
    return not rules.classes or name in rules.classes


def _remarks(
    drawing: Drawing, wanted: list[str | None], holes: list[str | None], rules: MaskRules
) -> tuple[str, ...]:
    remarks = []
    if drawing.passed_over:
        remarks.append(f"without an area, passed over: {drawing.describe_passed_over()}")
    if holes:
        remarks.append(f"outlines taken for holes: {_counts(drawing, holes)}")
    left_out = [name for name in drawing.by_class if name not in holes and name not in wanted]
    if left_out:
        remarks.append(f"outlines of other classes, left out: {_counts(drawing, left_out)}")
    missing = [name for name in rules.classes if name not in drawing.by_class]
    if missing:
        remarks.append(f"no outline has the class {', '.join(missing)}")
    if not rules.classes and len(wanted) > 1:
        remarks.append(
            f"outlines of all classes are tissue: {_counts(drawing, wanted)} "
            "(--mask-class NAME chooses)"
        )
    if rules.background:
        remarks.append("--mask-background is for pictures, and these are outlines")
    return tuple(f"{drawing.path.name}: {remark}" for remark in remarks)


def _counts(drawing: Drawing, names: list[str | None]) -> str:
    counts = [f"{len(drawing.by_class[name]):,} {name or 'without a class'}" for name in names]
    more = len(counts) - _MOST_NAMES
    return ", ".join([*counts[:_MOST_NAMES], *([f"{more} classes more"] if more > 0 else [])])


def _read_from(
    origin: Origin,
    drawing: Drawing,
    wanted: list[str | None],
    holes: list[str | None],
    ground: Ground,
    say: Callable[[str], None],
) -> Reading:
    """Read outlines that count from a corner."""
    path = drawing.path
    polygons = [polygon for name in wanted for polygon in drawing.by_class[name]]
    outlines, off, num_cut = _on_slide(path, polygons, origin, ground)
    if off and len(off) == len(polygons):
        raise MaskError(
            path,
            f"its {_outlines(len(off))} outside the slide, whose size is {ground.dimensions[0]} x "
            f"{ground.dimensions[1]}: the first one {_extent(off[0])}",
            hint="outlines are in pixels of level 0: was it drawn on this slide, at this scale?",
        )
    remarks = []
    if off:
        remarks.append(
            f"outlines outside the slide, left out: {len(off):,} of {len(polygons):,}; the first "
            f"one {_extent(off[0])}"
        )
    if num_cut:
        remarks.append(
            f"outlines that reach beyond the slide's edge: {num_cut:,} of {len(polygons):,}"
        )
    inside = filled(outlines, ground.shape, ground.scale, MaskError, say=say)
    if holes:
        emptied = [polygon for name in holes for polygon in drawing.by_class[name]]
        area, _, _ = _on_slide(path, emptied, origin, ground)
        inside &= ~filled(area, ground.shape, ground.scale, MaskError, say=say)
    num_areas = sum(map(len, drawing.by_class.values()))
    return Reading(
        inside,
        origin,
        f"{len(outlines.num_rings):,} of {num_areas:,} outlines of {path.name}",
        tuple(sorted(name for name in wanted if name is not None)),
        tuple(f"{path.name}: {remark}" for remark in remarks),
    )


def _on_slide(
    path: Path, polygons: list[Polygon], origin: Origin, ground: Ground
) -> tuple[Outlines, list[Polygon], int]:
    """Return the outlines that lie on the slide, those off it, and how many are cut by its edge."""
    corner = np.array(ground.corner if origin == "bounds" else (0, 0), np.float64)
    size = np.array(ground.dimensions, np.float64)
    lowest, highest = Outlines.of(path, polygons).moved(*corner).bounds()
    is_off = np.asarray(((lowest >= size) | (highest <= 0)).any(axis=1))  # False of NaN
    margin = max(ground.scale, 1.0)
    is_cut = ((lowest < -margin) | (highest > size + margin)).any(axis=1) & ~is_off
    outlines = Outlines.of(path, list(compress(polygons, ~is_off))).moved(*corner)
    with reading(path, MaskError, hint=HINT):
        require_near(outlines, ground.dimensions)
    return outlines, list(compress(polygons, is_off)), int(is_cut.sum())


def _outlines(number: int) -> str:
    return "outline lies" if number == 1 else f"{number:,} outlines lie"


def _extent(polygon: Polygon) -> str:
    (left, top), (right, bottom) = polygon[0].min(axis=0), polygon[0].max(axis=0)
    return f"spans x {left:g} to {right:g}, y {top:g} to {bottom:g}"
