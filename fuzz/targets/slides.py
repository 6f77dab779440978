"""Readers of slides and of masks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.mutations.json_values import mutate_json
from fuzz.mutations.members import mutate_member
from fuzz.mutations.octets import mutate_octets
from fuzz.mutations.tiff import mutate_tiff
from fuzz.oracles import pictures as oracles
from fuzz.seeds import slides as seeds
from fuzz.target import Target
from tcssa.errors import MissingMppError, SlideError
from tcssa.slides.image.slide import Slide
from tcssa.slides.image.thumbnail import Thumbnail
from tcssa.slides.tissue.ground import Ground, MaskError
from tcssa.slides.tissue.masks import read_mask

_SHAPE = (oracles.MASK_SIDE, oracles.MASK_SIDE)
_GROUND = Ground(
    Thumbnail(np.full((*_SHAPE, 3), 255, np.uint8), oracles.MASK_SCALE, np.zeros(_SHAPE, np.bool_)),
    (int(oracles.MASK_SIDE * oracles.MASK_SCALE),) * 2,
)


def read_slide(path: Path, reader: str | None = None) -> dict[str, Any]:
    """Read patches of a slide: at its corner, over its whole and over its lower right edge."""
    with Slide(path, reader) as slide:
        try:
            resolution = slide.resolution()
        except MissingMppError:
            resolution = None
        width, height = slide.dimensions
        side = min(seeds.SIDE, max(width, height))
        return {
            "dimensions": slide.dimensions,
            "resolution": resolution,
            "corner": slide.read_patch(0, 0, side, side),
            "coarse": slide.read_patch(0, 0, max(1, min(width, 4096)), 8),
            "edge": slide.read_patch(width - 16, height - 16, 32, 32),
        }


def read_outline(path: Path) -> Any:
    """Read a mask on a small picture."""
    return read_mask(path, _GROUND).inside


def _mask_picture(kind: str, number: int) -> Target:
    return Target(
        f"mask-{kind}", f".{kind}", lambda: [seeds.mask_pictures()[number]], read_outline,
        (MaskError,), mutate_tiff if kind == "tif" else mutate_octets, oracles.check_mask_picture,
    )  # fmt: skip


TARGETS = (
    Target("tiff", ".tif", seeds.tiffs, read_slide, (SlideError,), mutate_tiff, oracles.check_tiff),
    Target(
        "tiffslide", ".tif", seeds.tiffs, partial(read_slide, reader="tiffslide"), (SlideError,),
        mutate_tiff, oracles.check_tiff,
    ),
    Target(
        "tiff-several", ".tif", seeds.several_tiffs, partial(read_slide, reader="tiff"),
        (SlideError,), mutate_tiff, oracles.check_tiff,
    ),
    Target(
        "picture", ".png", seeds.pictures, read_slide, (SlideError,), mutate_octets,
        oracles.check_picture,
    ),
    Target(
        "ome-zarr", ".ome.zarr", seeds.ome_zarrs, read_slide, (SlideError,), mutate_member,
        oracles.check_ome_zarr, is_folder=True,
    ),
    Target(
        "geojson", ".geojson", seeds.outlines, read_outline, (MaskError,), mutate_json,
        oracles.check_outline, covered=("tcssa.slides.tissue.geojson", "tcssa.files.text"),
    ),
    _mask_picture("png", 0),
    _mask_picture("jpg", 1),
    _mask_picture("tif", 2),
)  # fmt: skip
