"""Results of compressing bags.

Shapes: B bags, N patches, D features, K slots, T = top_k.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from tcssa.compressor.balance import RoutingSums


@dataclass(frozen=True)
class CompressorOutput:
    """Result of compressing a batch of bags, or of one bag [N, P], without the axis B."""

    slots: Tensor
    """[B, K, D]."""
    mass: Tensor
    """Σ P̃ a of each slot, [B, K], float32; 0 marks an empty slot."""
    assignments: Tensor
    """The slots of each patch, most probable first, [B, N, T], int64; -1 for padding."""
    weights: Tensor
    """Their routing probabilities P̃, [B, N, T], float32; 0 for padding."""
    routing: RoutingSums
    """Sums over all real patches: the balance loss and slot utilisation."""
    salience: Tensor | None = None
    """Factor a of each patch, [B, N], float32, 0 for padding; None where the model has none."""

    @property
    def aux_loss(self) -> Tensor:
        """The balance loss over all real patches, 0-dim, float32."""
        return self.routing.balance_loss()

    def of_bag(self, bag: int) -> Self:
        """Return one bag's slots, masses, assignments, weights and salience, without the axis B.

        The sums of the routing stay those of all bags.
        """
        return replace(
            self,
            slots=self.slots[bag],
            mass=self.mass[bag],
            assignments=self.assignments[bag],
            weights=self.weights[bag],
            salience=None if self.salience is None else self.salience[bag],
        )


@dataclass(frozen=True)
class BagsOutput:
    """Result of compressing bags of different sizes."""

    slots: Tensor
    """[B, K, D]; with a nested budget [B, K', D]."""
    mass: Tensor
    """Σ P̃ a of each slot, [B, K] or [B, K'], float32; 0 marks an empty slot."""
    assignments: list[Tensor]
    """For each bag the slots of its patches, most probable first, [N, T], int64."""
    weights: list[Tensor]
    """For each bag their routing probabilities P̃, [N, T], float32."""
    routing: RoutingSums
    """Sums over all patches: the balance loss and slot utilisation."""
    salience: list[Tensor] | None = None
    """For each bag the factor a of its patches, [N], float32; None where the model has none."""

    @property
    def aux_loss(self) -> Tensor:
        """The balance loss over all patches, 0-dim, float32."""
        return self.routing.balance_loss()
