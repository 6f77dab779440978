"""Facts about a bag, whichever tool wrote it, in the terms that layouts are written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError, MissingMppError
from tcssa.features.bag import Bag
from tcssa.files.hdf5 import attributes, find_object, hdf5_file


@dataclass(frozen=True)
class Described:
    """Facts about a bag; None stands for an unknown one.

    Attributes:
        mpp: Level-0 resolution, µm per pixel.
        encoder: The encoder's name.
        patch_size: Side of a patch as the encoder saw it, in pixels.
        patch_size_level0: Side of a patch in level-0 pixels.
        level0_size: Width and height of the slide in level-0 pixels.
        has_coords: Whether the patches' coordinates are known.
        in_um: Whether the bag's coordinates are in µm.
        attributes: All attributes of the file, as plain values.
    """

    mpp: float | None
    encoder: str | None
    patch_size: int | None
    patch_size_level0: int | None
    level0_size: tuple[int, int] | None
    has_coords: bool
    in_um: bool
    attributes: Mapping[str, Any]

    def unknown(self) -> list[str]:
        """List the facts that the source does not give."""
        facts = {
            "coordinates": self.has_coords or None,
            "mpp": self.mpp,
            "encoder": self.encoder,
            "patch size": self.patch_size_level0,
        }
        return [name for name, value in facts.items() if value is None]

    def pixels(self, coords: NDArray[Any] | None) -> NDArray[np.int64] | None:
        """Convert the bag's corners [n, 2] to level-0 pixels, rounded; None stays None."""
        if coords is None:
            return None
        if self.in_um:
            assert self.mpp is not None
            coords = coords.astype(np.float64) / self.mpp
        return np.rint(coords).astype(np.int64)

    def microns(self, coords: NDArray[Any] | None) -> NDArray[np.float32] | None:
        """Convert the bag's corners [n, 2] to µm; None stays None."""
        if coords is None:
            return None
        if not self.in_um:
            assert self.mpp is not None
            coords = coords.astype(np.float64) * self.mpp
        return coords.astype(np.float32)


def describe(bag: Bag, mpp: float | None, *, needs_mpp: bool) -> Described:
    """Gather the known facts about a bag.

    Args:
        bag: The bag.
        mpp: Level-0 resolution stated by the user, µm per pixel; None takes the file's.
        needs_mpp: Whether the coordinates cannot be written without a resolution.

    Raises:
        FeatureFileError: The file does not give the unit of its coordinates, or CLAM's
            ``patches`` file is broken.
        MissingMppError: The resolution is needed but not known.
    """
    has_coords = bag.coords is not None
    said = {**_clam_patches(bag.path), **bag.attributes}
    in_um = has_coords and bag.coords_unit == "um"
    if has_coords and not in_um and getattr(bag.features, "name", None) == "/feats":
        reason = "does not tell the unit of its coordinates, as old files of STAMP"
        raise FeatureFileError(bag.path, reason, hint="extract this slide again with a newer STAMP")
    mpp = mpp or positive_number(said.get("mpp_level0"))
    if mpp is None and has_coords and (needs_mpp or in_um):
        raise MissingMppError(
            bag.path, f"the level-0 resolution of slide {bag.slide_id!r} is not known"
        )
    level0 = _whole(said.get("patch_size_level0"))
    tile_um = positive_number(said.get("tile_size_um")) or (
        positive_number(said.get("tile_size")) if in_um else None
    )
    if level0 is None and tile_um and mpp:
        level0 = round(tile_um / mpp)
    width, height = _whole(said.get("level0_width")), _whole(said.get("level0_height"))
    return Described(
        mpp=mpp,
        encoder=bag.encoder,
        patch_size=_whole(said.get("patch_size")) or _whole(said.get("tile_size_px")),
        patch_size_level0=level0,
        level0_size=(width, height) if width and height else None,
        has_coords=has_coords,
        in_um=in_um,
        attributes=said,
    )


def _clam_patches(path: Path) -> dict[str, Any]:
    """Read the grid from CLAM's ``patches/S.h5``, if there is one beside ``h5_files/S.h5``."""
    patches = path.parent.parent / "patches" / path.name
    if path.parent.name != "h5_files" or not patches.is_file():
        return {}
    with hdf5_file(patches, FeatureFileError, hint="mend it, or take it away") as file:
        coords = find_object(file, "coords")
        said = {} if coords is None else attributes(coords)
        side = said["patch_size"] * said["downsample"][0] * said.get("custom_downsample", 1)
        known: dict[str, Any] = {
            "patch_size": int(said["patch_size"]),
            "patch_size_level0": int(np.rint(side)),
        }
        if said.get("patch_level") == 0 and "level_dim" in said:
            width, height = said["level_dim"]
            known |= {"level0_width": int(width), "level0_height": int(height)}
    return known


def positive_number(value: Any) -> float | None:
    """Return a number above 0; None for anything else."""
    is_number = isinstance(value, int | float) and np.isfinite(value) and value > 0
    return float(value) if is_number else None


def _whole(value: Any) -> int | None:
    number = positive_number(value)
    return None if number is None else int(number)
