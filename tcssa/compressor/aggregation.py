"""Routing of bags, and the sums over their patches: the compressor before its experts.

Shapes: N patches of a bag, P features of a patch, D as the gate sees it, K slots, T = top_k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from tcssa.compressor import fused
from tcssa.compressor.balance import RoutingSums
from tcssa.compressor.embedding import PatchEmbedding
from tcssa.compressor.router import Router, salient
from tcssa.compressor.state import SlotState
from tcssa.errors import NonFiniteFeatureError
from tcssa.moments import SlotMoments

CHUNK_PATCHES = 2048
"""Patches that inference works on at once: 8 MB of float32 at D = 1024, which stays in cache
between the gate and the weighted sum, so that features are read from memory once."""


class Aggregate(NamedTuple):
    """The sums and the routing of one bag."""

    state: SlotState
    """The bag's contribution to the sums of its slide."""
    assignments: Tensor
    """The slots of its patches, most probable first, [N, T], int64."""
    weights: Tensor
    """Their routing probabilities P̃, [N, T], float32."""
    routing: RoutingSums
    salience: Tensor | None
    """Factor a of each patch, [N], float32; None where the model has none."""

    def placed(self, coords: Tensor, mpp: float | None) -> Aggregate:
        """Add the moments of the bag's coordinates; no gradient goes through them to the gate.

        Args:
            coords: Where the patches lie, [N, 2].
            mpp: Microns per unit of the coordinates; None where that is not known.
        """
        weights = salient(self.weights, self.salience)
        moments = SlotMoments.of(
            self.assignments.cpu().numpy(),
            weights.detach().cpu().numpy(),
            coords.cpu().numpy(),
            len(self.state.mass),
            mpp,
        )
        return self._replace(state=replace(self.state, footprint=moments))


def joined(parts: Sequence[Aggregate]) -> Aggregate:
    """Return the sums and the routing of the patches of several bags, one behind the other.

    Args:
        parts: Those of each bag, by one model; at least one.
    """
    salience = [part.salience for part in parts if part.salience is not None]
    return Aggregate(
        reduce(SlotState.merge, [part.state for part in parts]),
        torch.cat([part.assignments for part in parts]),
        torch.cat([part.weights for part in parts]),
        reduce(RoutingSums.merge, [part.routing for part in parts]),
        torch.cat(salience) if salience else None,
    )


def plain_sums_of(
    router: Router, features: Tensor, embed: PatchEmbedding | None = None
) -> Aggregate:
    """Route and sum up one bag in plain torch.

    Without gradients the bag streams through in chunks and nothing of size [N, K] or [N, D]
    is ever made; with gradients it is one chunk, since autograd would keep them all anyway.

    Args:
        router: The model's router.
        features: Patch features [N, P], of any floating type.
        embed: The model's embedding, if it has one.

    Raises:
        NonFiniteFeatureError: A patch has a NaN or an infinity; the error names its row.
    """
    if len(features) == 0:
        return _nothing(router, features.device)
    chunk_patches = len(features) if torch.is_grad_enabled() else CHUNK_PATCHES
    parts = None
    assignments, weights, salience = [], [], []
    for begin in range(0, len(features), chunk_patches):
        chunk = slice(begin, begin + chunk_patches)
        patches = rows = features[chunk].float()  # once, for the gate and for the sum
        try:
            rows = rows if embed is None else embed(rows)
            routing = router(rows, patches)
        except NonFiniteFeatureError as error:
            raise NonFiniteFeatureError(begin + error.row) from None
        dense = routing.dense_weights()
        state = SlotState(
            weighted_sum=dense.T @ rows,
            mass=dense.sum(dim=0),
            num_patches=len(dense),
        )
        sums = RoutingSums.of(routing)
        parts = (state, sums) if parts is None else (parts[0].merge(state), parts[1].merge(sums))
        assignments.append(routing.indices_NT)
        weights.append(routing.weights_NT)
        salience += [] if routing.salience_N is None else [routing.salience_N]
    assert parts is not None
    return Aggregate(
        parts[0],
        torch.cat(assignments),
        torch.cat(weights),
        parts[1],
        torch.cat(salience) if salience else None,
    )


def fused_sums_of(router: Router, bags: Sequence[Tensor]) -> list[Aggregate]:
    """Route and sum up all bags in one launch of the fused kernel.

    Args:
        router: The model's router.
        bags: Patch features of each bag, [N, D]; `tcssa.compressor.fused.takes` accepts them.

    Raises:
        NonFiniteFeatureError: A patch has a NaN or an infinity; the error names bag and row.
    """
    gate = router.gate
    line = None if router.salience is None else router.salience.line()
    sums = fused.fused_sums(bags, gate.weight, gate.bias, router.top_k, line)
    lengths = [len(bag) for bag in bags]
    all_indices, all_weights = (
        torch.split(values, lengths) for values in (sums.indices, sums.weights)
    )
    has_none: list[Tensor | None] = [None] * len(bags)
    all_salience = has_none if line is None else torch.split(sums.salience, lengths)
    parts = []
    for i, (indices, weights, salience) in enumerate(
        zip(all_indices, all_weights, all_salience, strict=True)
    ):
        state = SlotState(sums.weighted_sum[i], sums.mass[i], lengths[i])
        routing = RoutingSums(sums.probs[i], sums.counts[i], sums.logsumexp[i], lengths[i])
        parts.append(Aggregate(state, indices, weights, routing, salience))
    return parts


def _nothing(router: Router, device: torch.device) -> Aggregate:
    """Return the sums and the routing of a bag without patches."""
    num_slots, feature_dim = router.gate.weight.shape
    return Aggregate(
        SlotState.empty(num_slots, feature_dim, router.gate.weight.device),
        torch.empty(0, router.top_k, dtype=torch.int64, device=device),
        torch.empty(0, router.top_k, device=device),
        RoutingSums.empty(num_slots, device),
        None if router.salience is None else torch.empty(0, device=device),
    )
