"""What runtimes return.

Shapes: B bags, N patches, S slides, D features, K slots, T = top_k, C classes, H width of a
language model. Arrays are NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tcssa.moments import SlotMoments
    from tcssa_runtimes.contract.slide_accumulator import SlideSums


@dataclass(frozen=True)
class RuntimeOutput:
    """What becomes of a padded batch."""

    slots: NDArray[np.float32]
    """[B, K, D]."""
    mass: NDArray[np.float32]
    """Sum of routing weights of each slot, [B, K]; 0 marks an empty slot."""
    assignments: NDArray[np.int64]
    """The slots of each patch, most probable first, [B, N, T]; -1 for padding."""
    weights: NDArray[np.float32]
    """Their routing probabilities P̃, [B, N, T]; 0 for padding."""
    salience: NDArray[np.float32] | None = None
    """Factor of each patch's weights in all sums, [B, N]; 0 for padding. None: all count alike."""
    logits: NDArray[np.float32] | None = None
    """A classifier's, [B, C]."""
    tokens: NDArray[np.float32] | None = None
    """A projector's, [B, K, H]."""


@dataclass(frozen=True)
class Means:
    """What slots are refined from, of several slides."""

    means: NDArray[np.float32]
    """Of each slot, [S, K, D]; 0 for an empty one."""
    masses: NDArray[np.float32]
    """[S, K]."""
    moments: NDArray[np.float32] | None = None
    """Of each slot's place, [S, K, M] (`tcssa.moments`), for a model with places."""


@dataclass(frozen=True)
class Refined:
    """What becomes of the means of slides."""

    slots: NDArray[np.float32]
    """[S, K, D]."""
    logits: NDArray[np.float32] | None = None
    """A classifier's, [S, C]."""
    tokens: NDArray[np.float32] | None = None
    """A projector's, [S, K, H]."""


@dataclass(frozen=True)
class EncodedBag:
    """What becomes of one bag of `Runtime.compress`."""

    slots: NDArray[np.float32]
    """[K, D]."""
    mass: NDArray[np.float32]
    """[K]; 0 marks an empty slot."""
    assignments: NDArray[np.int64]
    """[N, T]."""
    weights: NDArray[np.float32]
    """[N, T]."""
    salience: NDArray[np.float32] | None = None
    """[N]; None where the model has none."""
    logits: NDArray[np.float32] | None = None
    """A classifier's, [C]."""
    tokens: NDArray[np.float32] | None = None
    """A projector's, [K, H]."""


@dataclass(frozen=True)
class EncodedSlide:
    """What becomes of one slide; of a nested budget K is that budget's."""

    slots: NDArray[np.float32]
    """[K, D]."""
    mass: NDArray[np.float32]
    """[K]; 0 marks an empty slot."""
    places: SlotMoments | None
    """Where each slot's patches lie, in the unit of the positions that were given. None where none
    were."""
    num_patches: int
    means: NDArray[np.float32] | None = None
    """Of each slot before its expert, [K, D]; 0 if empty. None where a graph does not tell."""
    unfolded: SlideSums | None = None
    """What the slots were folded from; None where they were not."""
    logits: NDArray[np.float32] | None = None
    """A classifier's, [C]."""
    tokens: NDArray[np.float32] | None = None
    """A projector's, [K, H]."""

    @property
    def centroids(self) -> NDArray[np.float64] | None:
        """Return the weighted mean position of each slot's patches, [K, 2]; NaN for an empty slot.

        None where no positions were given.
        """
        return None if self.places is None else self.places.centroids()

    @property
    def spread(self) -> NDArray[np.float64] | None:
        """Return the weighted standard deviation of the positions, [K, 2]; see `centroids`."""
        return None if self.places is None else self.places.spread()
