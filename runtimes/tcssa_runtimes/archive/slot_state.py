"""The sums that the file of an encoded slide keeps, read back to add up with others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.budgets import budgets_of
from tcssa.errors import FeatureFileError
from tcssa.features.writer import Attribute
from tcssa.files.boundary import UnsoundError
from tcssa.files.hdf5 import attributes, find_object, hdf5_file, numbers
from tcssa.moments import NUM_WAVES, SlotMoments
from tcssa_runtimes.archive.slot_files import AGAIN, facts_in
from tcssa_runtimes.archive.stored_slots import EncodedFacts, Floats, Positions, are_sums
from tcssa_runtimes.contract.slide_sums import SlideSums

_OF_EXTRACTION = ("params_hash", "n_failed", "mpp_level0", "mpp_effective")
"""Attributes that `tcssa_runtimes.archive.slot_sink` adds."""


@dataclass(frozen=True, eq=False)
class EncodedState:
    """Sums that an encoded slide's file keeps, with the slide's facts."""

    facts: EncodedFacts
    sums: SlideSums
    encoder: str
    """Encoder of the features; the text ``None`` where it was not recorded."""
    positions: Positions | None
    """Kind of its positions; None where it has none."""
    extraction: dict[str, Attribute]
    """Attributes of the extraction, if the slots were made in one pass with the features."""
    failed_coords: NDArray[np.int64] | None
    """Corners of patches that could not be read, [n, 2], likewise; None where there are none."""


def read_state(path: Path) -> EncodedState:
    """Read the sums of an encoded slide.

    Raises:
        FeatureFileError: The file is broken, is no file of slots, or does not keep the means.
    """
    with hdf5_file(path, FeatureFileError, hint=AGAIN) as file:
        facts = facts_in(path, file)
        said = attributes(file["features"])
        sums, positions = _read_sums(path, file, facts.num_patches)
        failed = None
        if find_object(file, "failed_coords") is not None:
            failed = numbers(file, "failed_coords", kinds="iu", ndim=2)[:]
        extraction = {name: said[name] for name in _OF_EXTRACTION if name in said}
        return EncodedState(facts, sums, str(said.get("encoder")), positions, extraction, failed)


def _read_sums(path: Path, file: h5py.File, num_patches: int) -> tuple[SlideSums, Positions | None]:
    """Read the sums of all the model's slots, and the kind of their positions if there are any."""
    folded_from = find_object(file, "unfolded")
    group = file if folded_from is None else folded_from
    if find_object(group, "means") is None:
        raise FeatureFileError(
            path,
            "does not keep the means of its slots",
            hint="encode it again with the run itself or a chunked artefact",
        )
    means, mass = numbers(group, "means", ndim=2)[:], numbers(group, "mass", ndim=1)[:]
    num_slots, feature_dim = file["features"].shape
    if folded_from is None:
        is_sound = len(means) == num_slots
    else:
        is_sound = num_slots in budgets_of(len(means))
    if not is_sound or means.shape != (len(mass), feature_dim) or not are_sums(mass, means):
        raise UnsoundError("its means make no sense")
    sums = SlideSums(len(means), feature_dim, num_patches=num_patches)
    sums.weighted_sum, sums.mass = means * mass[:, None], mass
    if find_object(group, "centroids") is None:
        return sums, None
    said = attributes(numbers(file, "centroids", ndim=2))
    sums.places = _read_places(group, mass)
    return sums, Positions(str(said["coords_unit"]), said["coords_point"])


def _read_places(group: h5py.Group, mass: Floats) -> SlotMoments:
    """Read the moments that `_write_sums` wrote.

    Raises:
        UnsoundError: A shape does not fit the slots, a value is not finite, or the scale is not
            positive.
    """
    centroids, spread = (numbers(group, name, ndim=2)[:] for name in ("centroids", "spread"))
    waves = mpp = None
    if find_object(group, "waves") is not None:
        stored = numbers(group, "waves", ndim=3)
        mpp = float(attributes(stored)["um_per_coord"])
        if stored.shape != (len(mass), NUM_WAVES, 2) or not (np.isfinite(mpp) and mpp > 0):
            raise UnsoundError("the waves of its places make no sense")
        waves = stored[:, :, 0] + 1j * stored[:, :, 1]
    held = mass > 0
    known = [centroids, spread, *([] if waves is None else [waves])]
    is_shaped = centroids.shape == spread.shape == (len(mass), 2)
    if not is_shaped or not all(np.isfinite(each[held]).all() for each in known):
        raise UnsoundError("its places make no sense")
    return SlotMoments.restored(mass.astype(np.float64), centroids, spread, waves, mpp)
