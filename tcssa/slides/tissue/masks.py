"""Tissue that the user outlined: GeoJSON in level-0 pixels, or a picture of the slide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tcssa.files.boundary import reading, require_file
from tcssa.slides.tissue.ground import Ground, Mask, MaskError, MaskRules, Reading
from tcssa.slides.tissue.outline_mask import read_outline_mask
from tcssa.slides.tissue.picture_mask import read_picture_mask

_MOST_ROUNDED = 0.9
"""Share of a mask's area that rounding leaves at least, at either of its places."""
_PICTURES = (".png", ".tif", ".tiff", ".jpg")
_LEAST_LEAD = (0.02, 0.1)
"""By how much more of the mask the better reading must lie on what was scanned, or on tissue."""


def read_mask(
    path: Path,
    ground: Ground,
    rules: MaskRules | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Mask:
    """Read the tissue mask in a file, at the size of the slide's thumbnail.

    Args:
        path: ``.geojson`` or ``.json`` with polygons in level-0 pixels, as QuPath and TRIDENT write
            them, holes kept; or a picture of the whole slide, or of what was scanned of it, at any
            size, 0 outside the tissue.
        ground: The slide.
        rules: How masks are read; None for the usual way.
        say: Told how far it is, where this takes seconds.

    Raises:
        MaskError: The file is missing or cannot be read as either; the picture's shape is not the
            slide's; the outlines lie off the slide; or they may be counted from two corners, and
            the slide does not tell from which.
    """
    rules = rules or MaskRules()
    with reading(path, MaskError):
        is_there = path.exists()
    if not is_there:
        raise MaskError(
            path,
            "there is no such mask",
            hint="draw it, or leave this slide out of the call with --mask",
        )
    require_file(path, MaskError)
    if path.suffix.lower() in _PICTURES:
        readings = read_picture_mask(path, ground, rules)
    else:
        readings = read_outline_mask(path, ground, rules, say)
    chosen = _chosen(readings, path, ground)
    return Mask(chosen.inside, chosen.origin, chosen.classes, _remarks(chosen, ground, rules))


def _chosen(readings: list[Reading], path: Path, ground: Ground) -> Reading:
    """Choose the reading whose mask lies on what was scanned, or else on tissue."""
    if len(readings) == 1:
        return readings[0]
    areas = [int(each.inside.sum()) for each in readings]
    whole = max(areas)
    if whole == 0:
        return readings[0]
    # what a reading loses beyond the slide's edge is not on it, but rounding loses a little too
    areas = [area if area > _MOST_ROUNDED * whole else whole for area in areas]
    for place, least in zip((ground.scanned(), ground.tissue()), _LEAST_LEAD, strict=True):
        shares = [
            float((each.inside & place).sum() / area)
            for each, area in zip(readings, areas, strict=True)
        ]
        if abs(shares[0] - shares[1]) >= least:
            return readings[shares.index(max(shares))]
    x, y = ground.corner
    raise MaskError(
        path,
        f"may count from the slide's corner or from that of what was scanned, ({x}, {y}), and lies "
        "on tissue either way",
        hint="say which with --mask-origin slide, or bounds as QuPath exports it",
    )


def _remarks(chosen: Reading, ground: Ground, rules: MaskRules) -> tuple[str, ...]:
    remarks = [*chosen.remarks]
    if ground.corner != (0, 0):
        x, y = ground.corner
        corner = (
            f"({x}, {y}), the corner of what was scanned"
            if chosen.origin == "bounds"
            else ("the slide's corner")
        )
        remarks.append(f"its mask is counted from {corner} (--mask-origin {chosen.origin})")
    elif rules.origin == "bounds":
        remarks.append("it states no bounds: its mask is counted from the slide's corner")
    num_inside, num_all = int(chosen.inside.sum()), chosen.inside.size
    if num_inside in (0, num_all):
        extent = "nothing" if num_inside == 0 else "everything"
        remarks.append(f"by its mask {extent} is tissue: {chosen.counted}")
    return tuple(remarks)
