"""Encoded slides as heat maps take them: without the slides' features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from tcssa.compressor.state import SlotState
from tcssa.errors import FeatureFileError, UsageError
from tcssa.files.hdf5 import hdf5_file, numbers
from tcssa.mil.heatmaps.stored_slide import StoredSlide
from tcssa.slides.image.places import Places
from tcssa_runtimes.archive.slot_files import FOLDER
from tcssa_runtimes.archive.slot_parts import find_parts
from tcssa_runtimes.archive.slot_state import read_state
from tcssa_runtimes.archive.stored_routing import StoredRouting, read_routing
from tcssa_runtimes.contract.slide_sums import counted


def find_stored(places: Sequence[str]) -> list[Path] | None:
    """Find the files of an encoded archive; None where a place is something else.

    A folder that holds features beside the slots counts as features, of which maps are finer.

    Args:
        places: Files of slots, and folders of archives.

    Raises:
        UsageError: An archive is of Parquet.
    """
    found: list[Path] = []
    for out in map(Path, places):
        if find_parts(out) or find_parts(out.parent):
            raise UsageError(
                f"{out} is of Parquet, which does not hold the slots of single patches",
                hint="give the archive of HDF5 files, encoded with --assignments, or the features",
            )
    for place in map(Path, places):
        if place.is_file() and place.parent.name == FOLDER:
            found.append(place)
        elif place.is_dir() and place.name == FOLDER:
            found += sorted(place.glob("*.h5"))
        elif (place / FOLDER).is_dir() and not any(place.glob("features_*")):
            found += sorted((place / FOLDER).glob("*.h5"))
        else:
            return None
    return found


def read_stored(path: Path) -> StoredSlide:
    """Read the sums of an encoded slide, and the slots of its patches.

    Raises:
        FeatureFileError: The file is broken, or keeps no means or no assignments.
    """
    state = read_state(path)
    sums = state.sums
    with hdf5_file(path, FeatureFileError) as file:
        slots = numbers(file, "features", ndim=2)[:]
        stored = read_routing(file, sums.num_patches, sums.num_slots)
    if stored is None:
        raise FeatureFileError(
            path,
            "does not keep which slots its patches went to",
            hint="encode it again with --assignments, or give the features",
        )
    routing = stored.routing
    factors = None if routing.salience is None else routing.salience.astype(np.float32)
    return StoredSlide(
        path=path,
        num_patches=sums.num_patches,
        state=SlotState(
            torch.from_numpy(sums.weighted_sum),
            torch.from_numpy(sums.mass),
            sums.num_patches,
            sums.places,
        ),
        slots=torch.from_numpy(slots),
        assignments=routing.slots.astype(np.int64),
        weights=counted(routing.weights.astype(np.float32), factors),
        places=_places(stored),
    )


def _places(stored: StoredRouting) -> Places | str:
    coords, frame = stored.routing.positions, stored.frame
    if coords is None or frame is None:
        return "its features had no coordinates"
    if frame.unit != "level0_px":
        return "its coordinates are not in level-0 pixels"
    if frame.side is None:
        return "its features did not say how large a patch is"
    return Places(coords, round(frame.side), frame.um_per_coord)
