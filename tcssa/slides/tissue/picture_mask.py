"""Masks that are pictures of the slide, or of what was scanned of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcssa.files.label_picture import LabelPicture, read_labels
from tcssa.slides.tissue.ground import Bounds, Ground, MaskError, MaskRules, Origin, Reading

_MAX_STRETCH = 0.02


def read_picture_mask(path: Path, ground: Ground, rules: MaskRules) -> list[Reading]:
    """Read a picture as a mask, for each corner that it may count from.

    Args:
        path: The picture, at any size.
        ground: The slide.
        rules: How masks are read.

    Raises:
        MaskError: The picture cannot be read, or its shape is that of neither the slide nor what
            was scanned of it.
    """
    picture = read_labels(path, MaskError, background=rules.background, chosen=rules.classes)
    places = {
        origin: _place(origin, ground)
        for origin in ground.origins(rules.origin)
        if _fits(picture, _place(origin, ground))
    }
    height, width = picture.inside.shape
    if not places:
        shapes = [
            f"{_place(origin, ground)[2]} x {_place(origin, ground)[3]}"
            for origin in ground.origins(rules.origin)
        ]
        raise MaskError(
            path,
            f"is {width} x {height}, which is not of the shape of the slide, {' or '.join(shapes)}",
            hint="a mask is a picture of the whole slide, at any size",
        )
    counted = f"{int(picture.inside.sum()):,} of {picture.inside.size:,} pixels of {path.name}"
    if picture.inside.all():
        counted += f" (--mask-background {picture.corner} if its upper left one is glass)"
    return [
        Reading(
            _sampled(picture.inside, ground, place),
            origin,
            counted,
            rules.classes,
            tuple(f"{path.name}: {remark}" for remark in picture.remarks),
        )
        for origin, place in places.items()
    ]


def _place(origin: Origin, ground: Ground) -> Bounds:
    if origin == "bounds" and ground.bounds is not None:
        return ground.bounds
    return (0, 0, *ground.dimensions)


def _fits(picture: LabelPicture, place: Bounds) -> bool:
    """Tell whether a picture has the shape of a place on the slide."""
    height, width = picture.inside.shape
    stretch = (width / place[2]) / (height / place[3])
    return bool(abs(stretch - 1) <= _MAX_STRETCH or abs(width / height * place[3] - place[2]) <= 2)


def _sampled(inside: NDArray[np.bool_], ground: Ground, place: Bounds) -> NDArray[np.bool_]:
    """Sample the picture at the centres of the thumbnail's pixels; False beyond its place."""
    height, width = inside.shape
    left, top, place_width, place_height = place
    # the thumbnail may reach a little beyond the slide: map centres, not corners
    y = ((np.arange(ground.shape[0]) + 0.5) * ground.scale - top) * height / place_height
    x = ((np.arange(ground.shape[1]) + 0.5) * ground.scale - left) * width / place_width
    rows, columns = (np.floor(each).astype(np.int64) for each in (y, x))
    sampled = inside[np.ix_(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))]
    if place == (0, 0, *ground.dimensions):
        return np.asarray(sampled)
    within = ((rows >= 0) & (rows < height))[:, None] & (columns >= 0) & (columns < width)
    return np.asarray(sampled & within)
