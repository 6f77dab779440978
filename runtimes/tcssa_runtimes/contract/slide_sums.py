"""Sums of a slide's chunks: the same monoid as `tcssa.SlotState`, in NumPy.

Shapes: n rows of a chunk, D features, K slots, T = top_k.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tcssa.budgets import fold
from tcssa.errors import NonFiniteFeatureError, ShapeError
from tcssa.moments import NEEDS_PLACES, Floats, SlotMoments
from tcssa_runtimes.contract.routing import Routing


@dataclass(frozen=True)
class ChunkSums:
    """Sums that one chunk adds to its slide, and the routing of its patches."""

    weighted_sum: NDArray[np.float32]
    """Σ P̃ a x, [K, D], with the salience a where the model has one."""
    mass: NDArray[np.float32]
    """Σ P̃ a, [K]."""
    assignments: NDArray[np.int64]
    """Slots of each patch, most probable first, [n, T]."""
    weights: NDArray[np.float32]
    """Routing probabilities P̃ of these slots, [n, T]."""
    salience: NDArray[np.float32] | None = None
    """Factor of each patch's weights in all sums, [n]; None where the model has none."""
    bad_row: int | None = None
    """Row of a patch in the chunk that has a NaN or an infinity; the sums are then of no patch."""


def counted(
    weights: NDArray[np.float32], salience: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Multiply routing weights by the salience of their patches.

    Args:
        weights: Routing probabilities P̃, [n, T].
        salience: Factor of each patch, [n]; None leaves the weights as they are.
    """
    if salience is None:
        return weights
    product: NDArray[np.float32] = weights * salience[:, None]
    return product


@dataclass
class SlideSums:
    """Sums of the chunks of one slide that have been added so far.

    Args:
        num_slots: K.
        feature_dim: Length D of a slot.
        has_coords: Whether the chunks come with their positions.
        mpp: Microns per unit of the positions; None where that is not known.
    """

    num_slots: int
    feature_dim: int
    has_coords: bool = False
    mpp: float | None = None
    num_patches: int = 0
    weighted_sum: NDArray[np.float32] = field(init=False)
    mass: NDArray[np.float32] = field(init=False)
    places: SlotMoments | None = field(init=False)
    """Moments of the positions of each slot's patches; None where there are none."""
    routing: list[Routing] = field(init=False, default_factory=list)
    """Routing of the patches of each chunk, as far as these sums are of chunks alone."""

    def __post_init__(self) -> None:
        self.weighted_sum = np.zeros((self.num_slots, self.feature_dim), np.float32)
        self.mass = np.zeros(self.num_slots, np.float32)
        self.places = SlotMoments.empty(self.num_slots) if self.has_coords else None

    def add(self, chunk: ChunkSums, positions: Floats | None = None) -> None:
        """Add a chunk.

        Args:
            chunk: Its sums and routing.
            positions: Positions of its patches, [n, 2]; needed where the slide has coords.

        Raises:
            NonFiniteFeatureError: The chunk has a bad row; the error counts it within the slide.
        """
        if chunk.bad_row is not None:
            raise NonFiniteFeatureError(self.num_patches + chunk.bad_row)
        self.weighted_sum += chunk.weighted_sum
        self.mass += chunk.mass
        self.num_patches += len(chunk.weights)
        self.routing.append(
            Routing.of(chunk.assignments, chunk.weights, chunk.salience, positions, self.num_slots)
        )
        if self.places is not None:
            assert positions is not None  # every chunk of the slide comes with them
            weights = counted(chunk.weights, chunk.salience)
            found = SlotMoments.of(chunk.assignments, weights, positions, self.num_slots, self.mpp)
            self.places = self.places.merge(found)

    def merge(self, other: SlideSums) -> None:
        """Add the sums of another part of the slide; moments only if both have them."""
        self.weighted_sum += other.weighted_sum
        self.mass += other.mass
        self.num_patches += other.num_patches
        self.routing = []
        if self.places is not None and other.places is not None:
            self.places = self.places.merge(other.places)
        else:
            self.places = None

    def fold(self, budget: int) -> SlideSums:
        """Return the sums of fewer slots, each of which adds up several (`tcssa.budgets`).

        Args:
            budget: K', which divides K.
        """
        folded = SlideSums(budget, self.feature_dim, mpp=self.mpp, num_patches=self.num_patches)
        folded.weighted_sum, folded.mass = fold(self.weighted_sum, budget), fold(self.mass, budget)
        folded.places = None if self.places is None else self.places.fold(budget)
        return folded

    def moments(self) -> NDArray[np.float32]:
        """Return the moments that a model with places takes, [K, M] (`tcssa.moments`).

        Raises:
            ShapeError: The slide has no coordinates, or their mpp is not known.
        """
        places = self.places
        if places is None and not self.num_patches:  # an empty slide, which fills up a launch
            places = SlotMoments.empty(self.num_slots)
        if places is None:
            raise ShapeError(NEEDS_PLACES)
        return places.vectors()

    def mean(self) -> NDArray[np.float32]:
        """Return the weighted mean of each slot's patches, [K, D]; 0 for an empty slot."""
        divisor: NDArray[np.float32] = np.where(self.mass > 0, self.mass, np.float32(1))
        return self.weighted_sum / divisor[:, None]
