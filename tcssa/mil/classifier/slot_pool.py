"""Pooling of a slide's slots into one vector, by name.

``mean`` is the paper's: all slots count equally, empty ones too. The others are for evidence that
few patches carry, which the mean dilutes twice: within a slot and among the slots.

- ``mass``: slots are weighted by their mass, Σ_k m_k y_k / Σ_k m_k; empty ones do not count.
- ``attention``: gated attention over the slots (Ilse et al. 2018, equations 8 and 9):
  a_k = softmax_k(wᵀ(tanh(V y_k) ⊙ sigm(U y_k))), the vector is Σ_k a_k y_k.
- ``max``: the largest value of each feature over the slots.

Shapes: B bags, K slots, D features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

PoolName = Literal["mean", "mass", "attention", "max"]

_ATTENTION_DIM = 128


class SlotPool(nn.Module, ABC):
    """A pool from slots [B, K, D] to vectors [B, D]."""

    needs_mass = False
    """Whether the pool uses the slots' masses."""

    @abstractmethod
    def forward(self, slots: Tensor, mass: Tensor | None = None) -> Tensor:
        """Pool slots into one vector for each bag, [B, D].

        Args:
            slots: [B, K, D].
            mass: Sum of the routing weights of each slot, [B, K]; required if `needs_mass`.
        """


class MeanSlots(SlotPool):
    """The mean of all slots."""

    def forward(self, slots: Tensor, mass: Tensor | None = None) -> Tensor:
        """See `SlotPool.forward`."""
        return slots.mean(dim=1)


class MaxSlots(SlotPool):
    """The largest value of each feature."""

    def forward(self, slots: Tensor, mass: Tensor | None = None) -> Tensor:
        """See `SlotPool.forward`."""
        return slots.amax(dim=1)


class MassSlots(SlotPool):
    """The mean of the slots, weighted by their masses; 0 for a bag without patches."""

    needs_mass = True

    def forward(self, slots: Tensor, mass: Tensor | None = None) -> Tensor:
        """See `SlotPool.forward`."""
        assert mass is not None
        total = mass.sum(dim=1, keepdim=True)
        share = mass / torch.where(total > 0, total, torch.ones_like(total))
        return (share.to(slots.dtype).unsqueeze(1) @ slots).squeeze(1)


class AttendSlots(SlotPool):
    """Gated attention over the slots.

    Args:
        feature_dim: D of the slots.
    """

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.tanh = nn.Linear(feature_dim, _ATTENTION_DIM)
        self.gate = nn.Linear(feature_dim, _ATTENTION_DIM)
        self.score = nn.Linear(_ATTENTION_DIM, 1)

    def forward(self, slots: Tensor, mass: Tensor | None = None) -> Tensor:
        """See `SlotPool.forward`."""
        scores: Tensor = self.score(self.tanh(slots).tanh() * self.gate(slots).sigmoid())
        return (scores.softmax(dim=1).transpose(1, 2) @ slots).squeeze(1)


def build_pool(name: PoolName, feature_dim: int) -> SlotPool:
    """Build a pool by name, with random weights if it has any.

    Args:
        name: Name of the pool.
        feature_dim: D of the slots.
    """
    if name == "attention":
        return AttendSlots(feature_dim)
    pools: dict[str, type[SlotPool]] = {"mean": MeanSlots, "mass": MassSlots, "max": MaxSlots}
    return pools[name]()
