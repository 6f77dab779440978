"""Bags in HDF5: ours and TRIDENT's, CLAM's, STAMP's, AtlasPatch's."""

from __future__ import annotations

import h5py
import numpy as np

from tcssa.errors import FeatureFileError
from tcssa.features.bag import READ_AGAIN, Bag
from tcssa.features.feature_set_path import BagRef, choose_set
from tcssa.features.readers.hdf5_direct import DatasetRows, is_one_plane
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.hdf5 import attributes, find_object, open_hdf5, require_numbers

_ANY_NUMBER = "iuf"


def read_hdf5(ref: BagRef) -> Bag:
    """Open the bag of an HDF5 file.

    Raises:
        FeatureFileError: The file is broken, or holds no bag or not that set.
    """
    file = open_hdf5(ref.path, FeatureFileError, hint=READ_AGAIN)
    try:
        with reading(ref.path, FeatureFileError, hint=READ_AGAIN):
            return _bag_of(ref, file)
    except BaseException:
        file.close()
        raise


def _bag_of(ref: BagRef, file: h5py.File) -> Bag:
    name = next((name for name in ("features", "feats") if file.id.links.exists(name.encode())), "")
    if not name:
        names = ", ".join(map(str, file)) or "nothing"
        raise FeatureFileError(ref.path, f"has neither 'features' nor 'feats' (found: {names})")
    found, chosen = find_object(file, name), None
    if isinstance(found, h5py.Group):
        sets = {each: one for each in found if (one := find_object(found, each))}
        name = chosen = choose_set(ref, list(sets))
        found = sets[chosen]
    elif ref.set_name is not None:
        raise FeatureFileError(ref.path, f"holds one set of features, and no {ref.set_name!r}")
    features = require_numbers(found, name, kinds=_ANY_NUMBER, looked_up_later=True)
    coords = find_object(file, "coords")
    if coords is not None:
        coords = require_numbers(coords, "coords", kinds=_ANY_NUMBER, looked_up_later=True)
        if len(coords.shape) != 2 and not is_one_plane(coords):
            found_shape = list(coords.shape)
            raise UnsoundError(f"its 'coords' is an array of shape {found_shape}, expected [N, 2]")
    root = attributes(file)
    said = {**root, **attributes(features)}
    if chosen is not None:
        said["encoder"] = chosen
    if coords is not None:
        said |= attributes(coords)
        if coords.chunks or is_one_plane(coords):  # otherwise no block can be missing
            coords = DatasetRows(coords)
        if chosen is not None and "patch_size_level0" not in said:
            said |= _atlaspatch_size(coords)
    complete, unit = said.get("complete", True), root.get("unit", "px")
    if not isinstance(complete, int) or not complete:  # a truth value is an int
        raise UnsoundError("was not written to its end")
    if not isinstance(unit, str):
        raise UnsoundError("its attribute 'unit' is no text")
    return Bag(
        ref,
        DatasetRows(features),
        coords,
        "um" if unit == "um" else "level0_px",
        said,
        file,
    )


def _atlaspatch_size(coords: h5py.Dataset | DatasetRows) -> dict[str, int]:
    """Read the side of AtlasPatch's patches, if all were read at level 0 and have one size."""
    if coords.shape[1] != 5 or len(coords) == 0:
        return {}
    sizes = np.unique(coords[:][:, 2:], axis=0)
    return {"patch_size_level0": int(sizes[0, 0])} if len(sizes) == 1 and not sizes[0, 2] else {}
