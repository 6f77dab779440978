"""Use of the slots of a fold, and similarity of their tokens.

Shapes: K slots, T = top_k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tcssa.mil.slots.routed import RoutedSlide

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SlotsInUse:
    """Distribution of the patches of a fold's test slides over its slots."""

    fold: int
    num_slides: int
    num_patches: int
    first_share: Floats
    """Share of patches that have the slot as their first, [K]; sums to 1."""
    any_share: Floats
    """Share of patches that go to the slot at all, [K]; sums to T."""
    mass_share: Floats
    """Share of the total gate weight, [K]; sums to 1."""
    slide_share: Floats
    """Share of slides with a patch in the slot, [K]."""
    effective_slots: float
    """exp(H) of the assignments, as in training: K if all slots are used equally."""
    largest_share: float
    """Share of all assignments that the busiest slot has; at most 1 / T."""
    empty_per_slide: float
    """Mean number of slots that a slide leaves empty."""
    first_weight: float
    """Mean gate weight of a patch's first slot: 1 is sure, 1 / K is uniform."""
    entropy: float
    """Mean entropy of the gate over all K slots, divided by log K."""

    @property
    def dead(self) -> list[int]:
        """Slots without a patch in any test slide."""
        return [slot for slot, share in enumerate(self.any_share) if share == 0]

    @property
    def by_mass(self) -> list[int]:
        """All slots, the one with the most mass first."""
        return [int(slot) for slot in np.argsort(-self.mass_share, kind="stable")]


def use_of(slides: Sequence[RoutedSlide]) -> SlotsInUse:
    """Sum up the use of slots over the test slides of one fold."""
    num_slots, top_k = len(slides[0].mass), slides[0].slots.shape[1]
    assigned = np.concatenate([slide.slots for slide in slides])
    sizes = np.array([len(slide.slots) for slide in slides])
    counts = np.bincount(assigned.ravel(), minlength=num_slots)
    masses = np.stack([slide.mass for slide in slides])
    share = counts / counts.sum()
    used = share[share > 0]
    return SlotsInUse(
        fold=slides[0].fold,
        num_slides=len(slides),
        num_patches=len(assigned),
        first_share=np.bincount(assigned[:, 0], minlength=num_slots) / len(assigned),
        any_share=share * top_k,
        mass_share=masses.sum(axis=0) / masses.sum(),
        slide_share=(masses > 0).mean(axis=0),
        effective_slots=float(np.exp(-(used * np.log(used)).sum())),
        largest_share=float(share.max()),
        empty_per_slide=float((masses == 0).sum(axis=1).mean()),
        first_weight=float(np.concatenate([slide.weights[:, 0] for slide in slides]).mean()),
        entropy=float(np.average([slide.entropy for slide in slides], weights=sizes)),
    )


@dataclass(frozen=True)
class TokenCosine:
    """Similarity of the tokens of a fold's slots."""

    fold: int
    mean: Floats
    """Mean cosine over the slides in which both slots hold patches, [K, K]; NaN if none."""
    num_slides: NDArray[np.int64]
    """Number of these slides, [K, K]."""

    @property
    def between(self) -> float | None:
        """Mean over all pairs of different slots that meet on a slide; None if none do."""
        pairs = self.mean[np.triu_indices(len(self.mean), k=1)]
        known = pairs[~np.isnan(pairs)]
        return float(known.mean()) if len(known) else None


def cosine_of(slides: Sequence[RoutedSlide]) -> TokenCosine:
    """Average the cosines of slot tokens over the test slides of one fold."""
    each = np.stack([slide.cosine for slide in slides])
    known = ~np.isnan(each)
    count = known.sum(axis=0)
    total = np.where(known, each, 0).sum(axis=0)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return TokenCosine(slides[0].fold, mean, count)
