"""Locations of a slide's patches, and a small picture of the slide in the same frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tcssa.errors import MissingMppError
from tcssa.features import open_bag
from tcssa.slides.image.slide import Slide
from tcssa.slides.image.small_picture import Picture, grid_picture, picture_beside
from tcssa.slides.image.thumbnail import thumbnail_of

_ASSUMED_MPP = 0.25
"""Assumed for a slide that states none; it only decides how large its picture is."""


@dataclass(frozen=True)
class Places:
    """The patches of a slide in level-0 pixels."""

    coords: NDArray[Any]
    """Top-left corners, [N, 2]."""
    side: int
    """Side of a patch, in level-0 pixels."""
    mpp: float | None = None
    """Micrometres per level-0 pixel, if that is known."""

    def from_own_corner(self) -> Places:
        """Return the patches relative to their common top-left corner, the frame of their grid."""
        return replace(self, coords=self.coords - self.coords.min(axis=0))


def read_places(features: Path) -> Places | str:
    """Read where a slide's patches lie, or return a short reason why that is not known."""
    with open_bag(features) as bag:
        coords, side = bag.read_coords(), bag.patch_size_level0
        if coords is None:
            return "its features have no coordinates"
        if bag.coords_unit != "level0_px":
            return "its coordinates are not in level-0 pixels"
        if side is None:
            return "its features do not say how large a patch is"
        return Places(coords, side, bag.um_per_coord)


def picture_of(features: Path, slide: Path | None, places: Places) -> tuple[Picture, bool]:
    """Return a small picture of the slide, and whether it shows the slide itself.

    Without slide and thumbnail it shows the grid of patches instead.

    Args:
        features: The slide's feature file; a job folder around it has thumbnails.
        slide: The slide file, if it is available.
        places: Locations of the slide's patches.

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
