"""Semantic Affinity Clustering: the loss that keeps slots in use and apart.

L_aux = K Σ_i P_i f_i + ½ (1 − H(P)/log K) + 1e-4 (E_j[logsumexp z̃_j])²

P_i is the mean routing probability of slot i, f_i the share of patches whose top k hold i
(Σ f_i = k). Means run over all real patches of the batch. With uniform routing the first term
is k, not 0.

The sums behind it are a monoid too, and slot utilisation is computed from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tcssa.compressor.router import Routing


@dataclass(frozen=True)
class RoutingSums:
    """Sums over the patches of a batch, a slide or an epoch."""

    probs: Tensor
    """Σ_j P_j, [K], float32."""
    counts: Tensor
    """How many patches chose each slot, [K], float32."""
    logsumexp: Tensor
    """Σ_j logsumexp z̃_j, 0-dim, float32."""
    num_patches: int

    @classmethod
    def empty(cls, num_slots: int, device: torch.device) -> RoutingSums:
        """Return the sums over no patches.

        Args:
            num_slots: K.
            device: Device of the sums.
        """
        zeros = torch.zeros(num_slots, device=device)
        return cls(zeros, zeros.clone(), torch.zeros((), device=device), 0)

    @classmethod
    def of(cls, routing: Routing) -> RoutingSums:
        """Compute the sums over the patches of one routing."""
        num_slots = routing.probs_NK.shape[1]
        counts = torch.bincount(routing.indices_NT.flatten(), minlength=num_slots)
        return cls(
            probs=routing.probs_NK.sum(dim=0),
            counts=counts.to(routing.probs_NK.dtype),
            logsumexp=routing.logsumexp().sum(),
            num_patches=len(routing.probs_NK),
        )

    def merge(self, other: RoutingSums) -> RoutingSums:
        """Return the sums over both parts together."""
        return RoutingSums(
            self.probs + other.probs,
            self.counts + other.counts,
            self.logsumexp + other.logsumexp,
            self.num_patches + other.num_patches,
        )

    def detach(self) -> RoutingSums:
        """Return the same numbers, detached from the graph."""
        return RoutingSums(
            self.probs.detach(), self.counts.detach(), self.logsumexp.detach(), self.num_patches
        )

    def balance_loss(self) -> Tensor:
        """Compute the auxiliary loss, 0-dim, float32; 0 where there are no patches."""
        if self.num_patches == 0:
            return self.logsumexp
        num_slots = len(self.probs)
        mean_probs = self.probs / self.num_patches
        share = self.counts / self.num_patches
        entropy = -(mean_probs * torch.log(mean_probs + 1e-8)).sum()
        return (
            num_slots * (mean_probs * share).sum()
            + 0.5 * (1 - entropy / math.log(num_slots))
            + 1e-4 * (self.logsumexp / self.num_patches) ** 2
        )

    def utilisation(self) -> Tensor:
        """Return each slot's share of all assignments, [K]; sums to 1 (0 if no patches)."""
        return self.counts / self.counts.sum().clamp(min=1)

    def effective_slots(self) -> float:
        """Return exp of the entropy of `utilisation`: K if all are used alike, 1 on collapse."""
        share = self.utilisation()
        return float(torch.exp(-(share * torch.log(share.clamp(min=1e-12))).sum()))
