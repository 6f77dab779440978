"""Where the patches of a slide lie, what the slide looks like, and the colour of every slot."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from numpy.typing import NDArray

from tcssa.errors import MissingMppError
from tcssa.features import open_bag
from tcssa.slides.image.slide import Slide
from tcssa.slides.image.small_picture import Picture, grid_picture, picture_beside
from tcssa.slides.image.thumbnail import thumbnail_of

_GOLDEN = 0.618034
_ASSUMED_MPP = 0.25
"""Of a slide that states none; it decides how large its picture is, nothing else."""


@dataclass(frozen=True)
class Places:
    """The patches of a slide in level-0 pixels."""

    coords: NDArray[Any]
    """Top-left corners, [N, 2]."""
    side: int
    """Side of a patch."""

    def from_own_corner(self) -> Places:
        """The same patches, counted from the corner of them all: the frame of their grid."""
        return Places(self.coords - self.coords.min(axis=0), self.side)


def read_places(features: Path) -> Places | str:
    """Where a slide's patches lie, or in a few words why that is not known."""
    with open_bag(features) as bag:
        coords, side = bag.read_coords(), bag.patch_size_level0
        if coords is None:
            return "its features have no coordinates"
        if bag.coords_unit != "level0_px":
            return "its coordinates are not in level-0 pixels"
        if side is None:
            return "its features do not say how large a patch is"
    return Places(coords, side)


def picture_of(features: Path, slide: Path | None, places: Places) -> tuple[Picture, bool]:
    """The slide in small, and whether it is one: without slide and thumbnail, a grid of patches.

    Args:
        features: The slide's feature file; a job folder around it has thumbnails.
        slide: The slide's file, where it is at hand.
        places: Its patches.

    Raises:
        SlideError: The slide cannot be read.
    """
    beside = picture_beside(features)
    if beside is not None:
        return beside, True
    if slide is None:
        return grid_picture(places.from_own_corner().coords, places.side), False
    with Slide(slide) as opened:
        try:
            mpp = opened.resolution().mpp
        except MissingMppError:
            mpp = _ASSUMED_MPP
        thumbnail = thumbnail_of(opened, mpp)
    return Picture(thumbnail.pixels, thumbnail.scale), True


Colours = Mapping[int, tuple[float, float, float]]


def slot_colours(slots_by_mass: Sequence[int]) -> Colours:
    """One colour for every slot of a fold, the same on all its slides.

    The slots with the most mass get the most distinct ones.

    Args:
        slots_by_mass: All slots, the one with the most mass first.
    """
    table = colormaps["tab20"]
    # its strong colours first, its pale ones after them
    named = [table(i)[:3] for i in (*range(0, 20, 2), *range(1, 20, 2))]
    more = [
        colorsys.hsv_to_rgb(i * _GOLDEN % 1, 0.5 + 0.4 * (i % 2), 0.5 + 0.4 * (i // 2 % 2))
        for i in range(max(0, len(slots_by_mass) - len(named)))
    ]
    return dict(zip(slots_by_mass, [*named, *more], strict=False))
