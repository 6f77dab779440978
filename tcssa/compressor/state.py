"""The sums that a slide adds up to.

Aggregation is a monoid: the weighted sums of two parts of a slide add up to the slide's. So a
`SlotState` lets a slide of any N stream through bounded memory, be split over workers and
merged, or be encoded while its patches are still being read.

Shapes: K slots, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tcssa.errors import ShapeError
from tcssa.moments import SlotMoments

_SMALLEST = 1e-30
"""Mass from which gradients go through a mean: they hold 1/mass, which overflows long before it is
infinite, and no patch of such a weight would change for it."""


@dataclass(frozen=True)
class SlotState:
    """Everything that the patches seen so far contribute to a slide's slots.

    States are values: `SlotCompressor.update` and `merge` return new ones.
    """

    weighted_sum: Tensor
    """Σ_j P̃_jk x_j, [K, D], float32; P̃ with the salience, where the model has one."""
    mass: Tensor
    """Σ_j P̃_jk, [K], float32."""
    num_patches: int = 0
    footprint: SlotMoments | None = None
    """Moments of the coordinates; None where a part came without coordinates."""

    @classmethod
    def empty(cls, num_slots: int, feature_dim: int, device: torch.device) -> Self:
        """Return the state of no patches at all, the neutral element of `merge`.

        Args:
            num_slots: K.
            feature_dim: D.
            device: Device of the sums.
        """
        return cls(
            weighted_sum=torch.zeros(num_slots, feature_dim, device=device),
            mass=torch.zeros(num_slots, device=device),
            footprint=SlotMoments.empty(num_slots),
        )

    def merge(self, other: SlotState) -> SlotState:
        """Return the state of both parts together.

        Raises:
            ShapeError: The states have different K or D, or coordinates in units of different size.
        """
        if self.weighted_sum.shape != other.weighted_sum.shape:
            raise ShapeError(
                f"cannot merge a state of [K, D] = {list(self.weighted_sum.shape)} with one of "
                f"{list(other.weighted_sum.shape)}"
            )
        footprint = None
        if self.footprint is not None and other.footprint is not None:
            footprint = self.footprint.merge(other.footprint)
        return SlotState(
            weighted_sum=self.weighted_sum + other.weighted_sum,
            mass=self.mass + other.mass,
            num_patches=self.num_patches + other.num_patches,
            footprint=footprint,
        )

    def fold(self, budget: int) -> SlotState:
        """Add up slots that fold into one another (`tcssa.budgets`).

        Args:
            budget: K', which divides K.
        """
        return SlotState(
            folded(self.weighted_sum, budget),
            folded(self.mass, budget),
            self.num_patches,
            None if self.footprint is None else self.footprint.fold(budget),
        )

    def centers(self) -> Tensor:
        """Return the weighted means c_k, [K, D]; 0 for an empty slot."""
        return normalise(self.weighted_sum, self.mass)


def folded(sums_K: Tensor, budget: int) -> Tensor:
    """Add up sums of slots that fold into one another: slot j into slot j mod K'.

    Args:
        sums_K: Sums of each slot, [K, ...].
        budget: K', which divides K.

    Returns:
        Sums of each folded slot, [K', ...].
    """
    return sums_K.reshape(-1, budget, *sums_K.shape[1:]).sum(dim=0)


def normalise(weighted_sum: Tensor, mass: Tensor) -> Tensor:
    """Divide weighted sums by their masses; an empty slot gives 0, never 0/0.

    The published code adds δ = 1e-9 to the denominator. That is 0 in float16 and is folded away
    by ONNX optimisers, so the guard here is by construction: an empty slot divides 0 by 1. A slot
    that only the tail of a softmax reaches has its mean, and no gradient.

    Args:
        weighted_sum: Σ P̃ a x of each slot, [..., K, D].
        mass: Σ P̃ a of each slot, [..., K].

    Returns:
        The weighted means, [..., K, D].
    """
    if mass.requires_grad:
        learns = mass > _SMALLEST
        mass = torch.where(learns, mass, mass.detach())
        weighted_sum = torch.where(learns.unsqueeze(-1), weighted_sum, weighted_sum.detach())
    return weighted_sum / torch.where(mass > 0, mass, torch.ones_like(mass)).unsqueeze(-1)
