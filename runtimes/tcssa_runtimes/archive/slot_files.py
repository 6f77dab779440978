"""The file of an encoded slide, ``slide_features_tcssa/S.h5``.

Datasets: ``features`` (K, D) float32 and ``mass`` (K,) float32; since format 3 also ``means``
(K, D) float32, the slots before their experts, except from a full graph, which does not return them
(`tcssa_runtimes.archive.merge` adds up files with means). With a nested budget K is the budget's
number of slots, and the group ``unfolded`` keeps ``mass``, ``means`` and, if there are any,
``centroids`` and ``spread`` of all slots of the model. Where the input has coordinates there are
also ``centroids`` and ``spread`` (K, 2) float64, NaN for an empty slot. They are in level-0 pixels,
or in µm where the input's are (attribute ``coords_unit``), and of patch centres where the input
states the size of patches, else of their top-left corners (attribute ``coords_point``). A model
with places adds ``waves`` (K, W, 2) float64, the real and the imaginary part of the Fourier moments
of the same coordinates (`tcssa.moments`), with the attribute ``um_per_coord``, in ``unfolded`` too.
A model with a head adds ``logits`` (C,) with the attribute ``classes``, or ``tokens`` (K, H).

With ``encode --assignments`` the group ``patches`` keeps which slots each patch went to, and where
it lies (`tcssa_runtimes.archive.stored_routing`), and ``features`` has the attributes
``level0_width`` and ``level0_height`` where the input states them.

Slots made in one pass with the features (`tcssa_runtimes.archive.slot_sink`) also have
``failed_coords``, the corners of patches that could not be read, where there are any.

Attributes are on ``features``, as in TRIDENT's files, and state what the slots were made from.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError
from tcssa.files import atomic
from tcssa.files.boundary import UnsoundError
from tcssa.files.hdf5 import attributes, find_object, hdf5_file, numbers
from tcssa_runtimes.archive.stored_routing import PATCHES, PatchFrame, write_routing
from tcssa_runtimes.archive.stored_slots import (
    ARRAYS,
    EncodedFacts,
    Origin,
    StoredSlots,
    are_sums,
    mass_entropy,
    slots_to_store,
)
from tcssa_runtimes.contract.outputs import EncodedSlide
from tcssa_runtimes.contract.routing import Routing

FOLDER = "slide_features_tcssa"
_READ_VERSIONS = (2, 3)
AGAIN = "remove it, and give the command again"


def slide_features_path(out: Path, slide_id: str) -> Path:
    """Return the path of a slide's file of slots.

    Args:
        out: The output folder, above ``slide_features_tcssa``.
        slide_id: The slide.
    """
    return out / FOLDER / f"{slide_id}.h5"


def write_slide_features(
    path: Path,
    slide: EncodedSlide,
    *,
    failed_coords: NDArray[np.int64] | None = None,
    assignments: PatchFrame | None = None,
    **stored: Any,  # checked by `slots_to_store`
) -> EncodedFacts:
    """Write an encoded slide, atomically; the same content gives the same bytes.

    Args:
        path: The file.
        slide: The slide.
        failed_coords: Corners of patches that could not be read, ``[n, 2]``, where slots were made
            from the slide itself.
        assignments: Keep the slots of each patch; what the positions are in.
        **stored: What `slots_to_store` takes.

    Returns:
        The facts in the file, of which the index makes a row.

    Raises:
        DiskFullError: There is no space left.
    """
    slots = slots_to_store(path, slide, has_assignments=assignments is not None, **stored)
    return write_slots(
        slots,
        failed_coords=failed_coords,
        routing=None if assignments is None else slide.routing,
        frame=assignments,
    )


def write_slots(
    slots: StoredSlots,
    *,
    failed_coords: NDArray[np.int64] | None = None,
    routing: Routing | None = None,
    frame: PatchFrame | None = None,
) -> EncodedFacts:
    """Write what is stored of a slide into the file that its facts name; return these facts.

    Args:
        slots: The slide.
        failed_coords: Corners of patches that could not be read, ``[n, 2]``.
        routing: The slots of each patch, to keep them.
        frame: What the positions of the routing are in.

    Raises:
        DiskFullError: There is no space left.
    """
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, values in slots.arrays.items():
            said = sorted(slots.attributes.get(name, {}).items())  # as a file gives them back
            file.create_dataset(name, data=values).attrs.update(said)
        if routing is not None and frame is not None:
            write_routing(file, routing, frame)
        if failed_coords is not None:
            file.create_dataset("failed_coords", data=failed_coords)
    atomic.write_bytes(slots.facts.path, content.getvalue())
    return slots.facts


def read_slots(path: Path) -> StoredSlots:
    """Read what is stored of an encoded slide, but for the assignments of its patches.

    Raises:
        FeatureFileError: The file is broken, or is not a complete file of slots.
    """
    with hdf5_file(path, FeatureFileError, hint=AGAIN) as file:
        facts = facts_in(path, file)
        there = [name for name in ARRAYS if find_object(file, name) is not None]
        datasets = {name: numbers(file, name) for name in there}
        arrays = {name: dataset[:] for name, dataset in datasets.items()}
        said = {name: attributes(dataset) for name, dataset in datasets.items()}
        return StoredSlots(facts, arrays, {name: each for name, each in said.items() if each})


def read_facts(path: Path) -> EncodedFacts | None:
    """Read the facts in an encoded slide's file; None if it is broken or not one of ours."""
    try:
        return require_facts(path)
    except FeatureFileError:
        return None


def require_facts(path: Path) -> EncodedFacts:
    """Read the facts in an encoded slide's file, without the slots themselves.

    Raises:
        FeatureFileError: The file is broken, or is not a complete file of slots.
    """
    with hdf5_file(path, FeatureFileError, hint=AGAIN) as file:
        return facts_in(path, file)


def facts_in(path: Path, file: h5py.File) -> EncodedFacts:
    """Read the facts in an encoded slide's open file.

    Args:
        path: The file.
        file: The same, open.

    Raises:
        UnsoundError: It is not a complete file of slots.
    """
    features = numbers(file, "features", ndim=2)
    said = attributes(features)
    if not said.get("complete") or said.get("format_version") not in _READ_VERSIONS:
        raise UnsoundError("is no whole file of slots")
    mass = numbers(file, "mass", ndim=1)[:]
    if len(mass) != len(features) or not are_sums(mass):
        raise UnsoundError("is no whole file of slots: its mass makes no sense")
    waves = find_object(file, "waves")
    return EncodedFacts(
        path=path,
        name=str(said["name"]),
        num_patches=int(said["num_patches"]),
        mass_entropy=mass_entropy(mass),
        slots_in_use=int((mass > 0).sum()),
        runtime=str(said["runtime"]),
        budget=str(said["budget"]) if "budget" in said else None,
        um_per_coord=None if waves is None else float(attributes(waves)["um_per_coord"]),
        has_assignments=find_object(file, PATCHES) is not None,
        origin=Origin(
            model_sha256=str(said["model_sha256"]),
            input_name=str(said["input_name"]),
            input_bytes=int(said["input_bytes"]),
            input_mtime_ns=int(said["input_mtime_ns"]),
            input_hash=str(said["input_hash"]),
        ),
    )
