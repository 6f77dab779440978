"""The slots an answer rests on, drawn on the slide, or on its grid of patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.slot_map import draw_slot_map

_GRID_PX = 700
_GLASS, _TISSUE = 255, 214


@dataclass(frozen=True)
class Picture:
    """A slide in small."""

    pixels: NDArray[np.uint8]
    """RGB [h, w, 3]."""
    scale: float
    """Level-0 pixels a picture pixel."""


def picture_slots(
    path: Path,
    picture: Picture | None,
    coords: NDArray[Any],
    patch_size: int,
    first_slot: NDArray[np.int64],
    *,
    title: str,
    labels: Mapping[int, str],
) -> None:
    """Draw a slide beside the same slide with the patches of some slots coloured.

    Args:
        path: The PNG to write.
        picture: The slide; None draws the grid of its patches.
        coords: Top-left corners in level-0 pixels [N, 2].
        patch_size: Side of a patch in level-0 pixels.
        first_slot: The first slot of each patch [N].
        title: Stands above.
        labels: The slots to colour, most important first, with their legend.
    """
    corner = np.zeros(2)
    if picture is None:
        corner = coords.min(axis=0)  # the slide's own size is not known
        picture = grid_picture(coords - corner, patch_size)
    draw_slot_map(
        path,
        picture.pixels,
        picture.scale,
        coords - corner,
        patch_size,
        first_slot,
        title=title,
        labels=labels,
    )


def grid_picture(coords: NDArray[Any], patch_size: int) -> Picture:
    """A picture of the patches alone: grey squares on white, from corners that begin at 0."""
    extent = coords.max(axis=0) + patch_size
    scale = max(float(extent.max()) / _GRID_PX, 1e-9)
    width, height = np.ceil(extent / scale).astype(int)
    pixels = np.full((height, width, 3), _GLASS, np.uint8)
    for x, y in coords / scale:
        left, top = round(x), round(y)
        right, bottom = round(x + patch_size / scale), round(y + patch_size / scale)
        pixels[top:bottom, left:right] = _TISSUE
    return Picture(pixels, scale)
