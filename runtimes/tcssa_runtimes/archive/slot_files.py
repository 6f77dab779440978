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
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.budgets import Budget
from tcssa.errors import FeatureFileError
from tcssa.features.content import is_unchanged
from tcssa.features.feature_set_path import BagRef
from tcssa.features.writer import Attribute
from tcssa.files import atomic
from tcssa.files.boundary import UnsoundError
from tcssa.files.hdf5 import attributes, find_object, hdf5_file, numbers
from tcssa.moments import SlotMoments
from tcssa.version import __version__
from tcssa_runtimes.archive.stored_routing import PATCHES, PatchFrame, write_routing
from tcssa_runtimes.contract.outputs import EncodedSlide

Floats = NDArray[np.floating]
FOLDER = "slide_features_tcssa"
FORMAT_VERSION = 3
_READ_VERSIONS = (2, 3)
AGAIN = "remove it, and give the command again"


@dataclass(frozen=True)
class Origin:
    """Origin of an encoded slide: the model and the input that it was made from."""

    model_sha256: str
    input_name: str
    input_bytes: int
    input_mtime_ns: int
    input_hash: str
    """Hash of features and coordinates; see `tcssa.features.content`."""

    @classmethod
    def of(cls, bag: BagRef, stat: os.stat_result, model_sha256: str, input_hash: str) -> Self:
        """Return the origin of slots that are made from a bag.

        Args:
            bag: The feature file.
            stat: Its size and time, as of before it was read.
            model_sha256: Hash of the model's files.
            input_hash: Hash of the bag's features and coordinates.
        """
        return cls(model_sha256, bag.name, stat.st_size, stat.st_mtime_ns, input_hash)

    def is_of(self, bag: BagRef, model_sha256: str) -> bool:
        """Tell whether encoding a bag with a model would give the same slots.

        Args:
            bag: The feature file.
            model_sha256: Hash of the model's files.

        Raises:
            FeatureFileError: The content cannot be read.
        """
        known = (self.input_name, self.input_bytes, self.input_mtime_ns, self.input_hash)
        return self.model_sha256 == model_sha256 and is_unchanged(bag, *known)


@dataclass(frozen=True, eq=False)
class EncodedFacts:
    """Facts that an encoded slide's file states, without the slots themselves."""

    path: Path
    name: str
    num_patches: int
    mass: NDArray[np.float32]
    """Sum of routing weights of each slot, [K]; 0 marks an empty slot."""
    runtime: str
    origin: Origin
    budget: str | None
    """The budget that was requested, as text; None where none was."""
    um_per_coord: float | None
    """Microns per unit of the coordinates, of a model with places; None of any other."""
    has_assignments: bool = False
    """Whether it keeps the slots of each patch."""


@dataclass(frozen=True)
class Positions:
    """Kind of a slide's coordinates: their unit, and the point of a patch that they give."""

    unit: str
    """``level0_px`` or ``um``."""
    point: Literal["centre", "corner"]
    """Point of a patch; ``corner`` is the top left one."""


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
    origin: Origin,
    positions: Positions | None,
    encoder: str | None,
    runtime: str,
    classes: Sequence[str] | None = None,
    budget: Budget | None = None,
    failed_coords: NDArray[np.int64] | None = None,
    assignments: PatchFrame | None = None,
    more: Mapping[str, Attribute] | None = None,
) -> EncodedFacts:
    """Write an encoded slide, atomically; the same content gives the same bytes.

    Args:
        path: The file.
        slide: The slide.
        origin: The model and the input that it was made from.
        positions: Kind of its coordinates; None if it has none.
        encoder: Name of the encoder of the features; None if it was not recorded.
        runtime: Backend and device that ran the model.
        classes: Names of the classes of the logits, if there are logits.
        budget: The budget that was requested, if any.
        failed_coords: Corners of patches that could not be read, ``[n, 2]``, where slots were made
            from the slide itself.
        assignments: Keep the slots of each patch; what the positions are in.
        more: Further attributes.

    Returns:
        The facts in the file, of which the index makes a row.

    Raises:
        DiskFullError: There is no space left.
    """
    facts = EncodedFacts(
        path=path,
        name=path.stem,
        num_patches=slide.num_patches,
        mass=slide.mass,
        runtime=runtime,
        origin=origin,
        budget=None if budget is None else str(budget),
        um_per_coord=None if slide.places is None else slide.places.mpp,
        has_assignments=assignments is not None,
    )
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        _write_slots(file, slide, positions, classes or ())
        if assignments is not None and slide.routing is not None:
            write_routing(file, slide.routing, assignments)
        if failed_coords is not None:
            file.create_dataset("failed_coords", data=failed_coords)
        file["features"].attrs.update({**_attributes(facts, encoder), **(more or {})})
    atomic.write_bytes(path, content.getvalue())
    return facts


def _write_slots(
    file: h5py.File, slide: EncodedSlide, positions: Positions | None, classes: Sequence[str]
) -> None:
    """Write the slots, the sums that they were made of, and the output of the model's head."""
    file.create_dataset("features", data=slide.slots)
    _write_sums(file, slide.mass, slide.means, slide.places)
    for name in ("centroids", "spread"):
        if positions is not None:
            file[name].attrs["coords_unit"] = positions.unit
            file[name].attrs["coords_point"] = positions.point
    if (sums := slide.unfolded) is not None:
        _write_sums(file.create_group("unfolded"), sums.mass, sums.mean(), sums.places)
    if slide.logits is not None:
        logits = file.create_dataset("logits", data=slide.logits)
        logits.attrs["classes"] = list(classes)
    if slide.tokens is not None:
        file.create_dataset("tokens", data=slide.tokens)


def _attributes(facts: EncodedFacts, encoder: str | None) -> dict[str, Attribute]:
    return {
        "name": facts.name,
        "encoder": str(encoder),  # None is the string 'None', as in TRIDENT's files
        "num_patches": facts.num_patches,
        **asdict(facts.origin),
        "runtime": facts.runtime,
        **({} if facts.budget is None else {"budget": facts.budget}),
        "tcssa_version": __version__,
        "format_version": FORMAT_VERSION,
        "complete": True,
    }


def _write_sums(
    group: h5py.Group, mass: Floats, means: Floats | None, places: SlotMoments | None
) -> None:
    """Write the sums that slots are made of, as far as they are known."""
    group.create_dataset("mass", data=mass)
    if means is not None:
        group.create_dataset("means", data=means)
    if places is None:
        return
    group.create_dataset("centroids", data=places.centroids())
    group.create_dataset("spread", data=places.spread())
    waves = places.mean_waves()
    if waves is not None:
        dataset = group.create_dataset("waves", data=np.stack([waves.real, waves.imag], axis=2))
        dataset.attrs["um_per_coord"] = places.mpp


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
        mass=mass,
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


def are_sums(mass: Floats, *means: Floats) -> bool:
    """Tell whether masses are of some sums: none is negative, and all is finite."""
    return bool((mass >= 0).all() and all(np.isfinite(each).all() for each in (mass, *means)))
