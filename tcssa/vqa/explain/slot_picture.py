"""The slots an answer rests on, drawn on the slide, or on its grid of patches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.reports.slot_map import draw_slot_map
from tcssa.slides.image.small_picture import Picture, grid_picture


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
        title: Title of the picture.
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
