"""What is stored of an encoded slide, whatever kind of file holds it: facts, arrays, attributes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from tcssa.budgets import Budget
from tcssa.features.content import is_unchanged
from tcssa.features.feature_set_path import BagRef
from tcssa.features.writer import Attribute
from tcssa.moments import SlotMoments
from tcssa.version import __version__
from tcssa_runtimes.contract.outputs import EncodedSlide

Floats = NDArray[np.floating]
FORMAT_VERSION = 3
_OF_SUMS = ("mass", "means", "centroids", "spread", "waves")
WAVES = ("waves", "unfolded/waves")
ARRAYS = ("features", *_OF_SUMS, *(f"unfolded/{name}" for name in _OF_SUMS), "logits", "tokens")
"""Datasets of a file, but for those of single patches."""


@dataclass(frozen=True, slots=True)
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

    def is_untouched(self, bag: BagRef) -> bool:
        """Tell whether a feature file has the size and time that it had, so is not to be opened."""
        stat = bag.file.stat()
        return (stat.st_size, stat.st_mtime_ns) == (self.input_bytes, self.input_mtime_ns)


@dataclass(frozen=True, slots=True)
class EncodedFacts:
    """Facts that an encoded slide's file states, without the slots themselves."""

    path: Path
    name: str
    num_patches: int
    mass_entropy: float
    """Entropy of the distribution of mass over the slots, in nats; see `mass_entropy`."""
    slots_in_use: int
    """Slots with any mass."""
    runtime: str
    origin: Origin
    budget: str | None
    """The budget that was requested, as text; None where none was."""
    um_per_coord: float | None
    """Microns per unit of the coordinates, of a model with places; None of any other."""
    has_assignments: bool = False
    """Whether it keeps the slots of each patch."""


def mass_entropy(mass: NDArray[np.float32]) -> float:
    """Compute the entropy of a slide's distribution of mass over its slots, in nats.

    It is 0 where one slot has all the mass, and log K where all slots have the same.
    """
    share = mass.astype(np.float64)[mass > 0]
    share = share / share.sum() if share.size else share
    return float(-(share * np.log(share)).sum() + 0.0)


def are_sums(mass: Floats, *means: Floats) -> bool:
    """Tell whether masses are of some sums: none is negative, and all is finite."""
    return bool((mass >= 0).all() and all(np.isfinite(each).all() for each in (mass, *means)))


@dataclass(frozen=True)
class Positions:
    """Kind of a slide's coordinates: their unit, and the point of a patch that they give."""

    unit: str
    """``level0_px`` or ``um``."""
    point: Literal["centre", "corner"]
    """Point of a patch; ``corner`` is the top left one."""


@dataclass(frozen=True, eq=False)
class StoredSlots:
    """What is stored of an encoded slide, in whatever kind of file."""

    facts: EncodedFacts
    arrays: dict[str, NDArray[Any]]
    """Datasets by their path in the file, such as ``features`` and ``unfolded/mass``."""
    attributes: dict[str, dict[str, Any]]
    """Attributes of these, by the same path."""

    @property
    def slots(self) -> NDArray[np.floating]:
        """Return the refined slots, [K, D]."""
        return self.arrays["features"]

    @property
    def mass(self) -> NDArray[np.floating]:
        """Return the sum of routing weights of each slot, [K]; 0 marks an empty slot."""
        return self.arrays["mass"]

    @property
    def centroids(self) -> NDArray[np.floating] | None:
        """Return the mean position of each slot's patches, [K, 2]; None without coordinates."""
        return self.arrays.get("centroids")


def slots_to_store(
    path: Path,
    slide: EncodedSlide,
    *,
    origin: Origin,
    positions: Positions | None,
    encoder: str | None,
    runtime: str,
    classes: Sequence[str] | None = None,
    projector_sha256: str | None = None,
    budget: Budget | None = None,
    has_assignments: bool = False,
    more: Mapping[str, Attribute] | None = None,
) -> StoredSlots:
    """Return what is to be stored of an encoded slide; see `write_slide_features`.

    Args:
        path: The file, whose name is the slide's.
        slide: The slide.
        origin: The model and the input that it was made from.
        positions: Kind of its coordinates; None if it has none.
        encoder: Name of the encoder of the features; None if it was not recorded.
        runtime: Backend and device that ran the model.
        classes: Names of the classes of the logits, if there are logits.
        projector_sha256: Hash of the projector's file, if there are tokens.
        budget: The budget that was requested, if any.
        has_assignments: Whether the slots of each patch are kept too.
        more: Further attributes.
    """
    facts = EncodedFacts(
        path=path,
        name=path.stem,
        num_patches=slide.num_patches,
        mass_entropy=mass_entropy(slide.mass),
        slots_in_use=int((slide.mass > 0).sum()),
        runtime=runtime,
        origin=origin,
        budget=None if budget is None else str(budget),
        um_per_coord=None if slide.places is None else slide.places.mpp,
        has_assignments=has_assignments,
    )
    arrays = {"features": slide.slots, **_sums(slide.mass, slide.means, slide.places)}
    if (sums := slide.unfolded) is not None:
        of_all = _sums(sums.mass, sums.mean(), sums.places)
        arrays |= {f"unfolded/{name}": values for name, values in of_all.items()}
    heads = {"logits": slide.logits, "tokens": slide.tokens}
    arrays |= {name: made for name, made in heads.items() if made is not None}
    said: dict[str, dict[str, Any]] = {
        "features": {**_attributes(facts, encoder), **(more or {})},
        "logits": {"classes": list(classes or ())},
    }
    if projector_sha256 is not None:
        said["tokens"] = {"projector_sha256": projector_sha256}
    if positions is not None:
        kind: dict[str, Any] = {"coords_unit": positions.unit, "coords_point": positions.point}
        said |= {"centroids": kind, "spread": kind}
    if facts.um_per_coord is not None:
        said |= {name: {"um_per_coord": facts.um_per_coord} for name in WAVES}
    return StoredSlots(facts, arrays, {name: said[name] for name in arrays if name in said})


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


def _sums(
    mass: Floats, means: Floats | None, places: SlotMoments | None
) -> dict[str, NDArray[Any]]:
    """Return the sums that slots are made of, as far as they are known."""
    sums: dict[str, NDArray[Any]] = {"mass": mass}
    if means is not None:
        sums["means"] = means
    if places is None:
        return sums
    sums |= {"centroids": places.centroids(), "spread": places.spread()}
    waves = places.mean_waves()
    if waves is not None:
        sums["waves"] = np.stack([waves.real, waves.imag], axis=2)
    return sums
