"""Writing a bag as TRIDENT keeps it: the features, and the file of patches that its tools ask for.

TRIDENT reads ``patch_size * level0_magnification / target_magnification`` level-0 pixels a patch.
Where the source does not name the last of these, it is the one that gives the patch's own side.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError
from tcssa.features.bag import Bag
from tcssa.features.bag_metadata import Described, positive_number
from tcssa.features.magnification import nominal_magnification, whole_if_it_is
from tcssa.features.writer import Attribute, BagHeader, write_coords, writing_features
from tcssa.files.hdf5 import hdf5_file, numbers

ROWS = 4096
"""Patches in memory at a time."""
CONVERTED_FROM = "converted_from"
"""Attribute of features that were not extracted: the name of the file that they were made of."""

_GRID = (
    "patch_size", "patch_size_level0", "level0_magnification", "target_magnification", "overlap",
    "level0_width", "level0_height",
)  # fmt: skip
_RESOLUTION = ("mpp_level0", "mpp_source", "mpp_target", "mpp_effective")
_MADE_BY = ("encoder_weights", "encoder_input_px", "params", "params_hash")


def trident_files(out: Path, slide_id: str, encoder: str | None) -> tuple[Path, ...]:
    """Name the files of a slide; the features, which are written last, come last.

    Args:
        out: The folder of the grid.
        slide_id: The slide's name.
        encoder: The encoder's name, None if it is not known.
    """
    features = out / f"features_{folder_name(encoder)}" / f"{slide_id}.h5"
    return out / "patches" / f"{slide_id}_patches.h5", features


def write_trident(bag: Bag, known: Described, out: Path, dtype: str | None) -> None:
    """Write ``patches`` if corners and the patches' size are known, and the features.

    Args:
        bag: The bag.
        known: Facts about it.
        out: The folder of the grid.
        dtype: Type to store the features in; None keeps float16, and makes float32 of all else.

    Raises:
        FeatureFileError: The slide's other features in the folder stand on other patches, or a
            feature is not finite in that type.
        DiskFullError: There is no space left.
    """
    said = _said(known)
    resolution = _chosen(said, _RESOLUTION)
    grid = BagHeader(bag.slide_id, out, coords=_chosen(said, _GRID), ours=resolution)
    patches, path = trident_files(out, bag.slide_id, known.encoder)
    corners = known.pixels(bag.read_coords()) if known.patch_size_level0 else None
    if corners is not None and not _is_there(patches, corners, path):
        write_coords(patches, grid, corners)
    if dtype is None:
        dtype = "float16" if bag.features.dtype == np.float16 else "float32"
    header = BagHeader(
        bag.slide_id,
        out,
        coords=grid.coords,
        ours={**resolution, **_chosen(said, _MADE_BY)},
        encoder=known.encoder or "None",
        features={CONVERTED_FROM: bag.ref.name},
    )
    with writing_features(
        path,
        header,
        num_expected=bag.num_patches,
        feature_dim=bag.feature_dim,
        dtype=dtype,
        with_coords=known.has_coords,
    ) as writer:
        for features, coords in bag.chunks(ROWS):
            writer.append(features, known.pixels(coords))


def folder_name(encoder: str | None) -> str:
    """Return an encoder's name as a part of a folder's."""
    return re.sub(r"[^\w.-]", "_", encoder or "unknown")


def _said(known: Described) -> dict[str, Any]:
    """Return the source's attributes, completed by what is known of it."""
    said: dict[str, Any] = dict(known.attributes)
    side, level0_side = known.patch_size, known.patch_size_level0
    facts: dict[str, Any] = {"patch_size": side, "patch_size_level0": level0_side}
    if known.mpp is not None:
        if said.get("mpp_level0") != known.mpp:
            said |= {"mpp_level0": known.mpp, "mpp_source": "given"}
        facts["level0_magnification"] = nominal_magnification(known.mpp)
    if known.mpp and side and level0_side:
        um = positive_number(said.get("tile_size_um")) or level0_side * known.mpp
        facts["mpp_target"] = um / side
        stated = positive_number(said.get("level0_magnification"))
        power = stated or facts["level0_magnification"]
        facts["target_magnification"] = whole_if_it_is(power * side / level0_side)
    said = {name: value for name, value in said.items() if str(value) != "None"}
    return facts | said


def _is_there(patches: Path, corners: NDArray[np.int64], features: Path) -> bool:
    """Tell whether a slide's patches are in the folder already.

    Raises:
        FeatureFileError: Other patches are, and features of another encoder stand on them.
    """
    if not patches.exists():
        return False
    try:
        with hdf5_file(patches, FeatureFileError) as file:
            if np.array_equal(numbers(file, "coords", kinds="iu", ndim=2)[:], corners):
                return True
    except FeatureFileError:
        return False  # damaged since: it is made again
    others = features.parent.parent.glob(f"features_*/{features.name}")
    users = sorted(path.parent.name for path in others if path.parent != features.parent)
    if users:
        reason = f"{', '.join(users)} stand on other patches of this slide"
        raise FeatureFileError(patches, reason, hint="convert into another --out")
    return False


def _chosen(said: dict[str, Any], names: tuple[str, ...]) -> dict[str, Attribute]:
    return {name: said[name] for name in names if isinstance(said.get(name), str | int | float)}
