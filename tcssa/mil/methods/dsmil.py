"""DSMIL (Li et al. 2021, arXiv 2011.08939): two streams that learn together.

The first scores every patch and takes the maximum per class; the second attends to all patches
by their similarity to that critical patch (eq. 4–6). The loss is the mean of both streams' losses,
and the prediction is the mean of both streams' scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tcssa.mil.methods.base import BagClassifier, BagsLogits, PatchParts

_QUERY_DIM = 128


class Streams(NamedTuple):
    """Scores of both streams for one bag."""

    instance: Tensor
    """Largest patch score per class, [C]."""
    bag: Tensor
    """Bag score, [C]."""


class DSMIL(BagClassifier):
    """Dual-stream MIL.

    Args:
        feature_dim: D.
        num_classes: C.
    """

    only_classes = False

    def __init__(self, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        self.instance = nn.Linear(feature_dim, num_classes)
        self.query = nn.Sequential(
            nn.Linear(feature_dim, _QUERY_DIM),
            nn.ReLU(),
            nn.Linear(_QUERY_DIM, _QUERY_DIM),
            nn.Tanh(),
        )
        # one filter of the bag's whole [C, D] matrix per class, as the published code has it
        self.bag = nn.Conv1d(num_classes, num_classes, kernel_size=feature_dim)

    def streams(self, bag: Tensor) -> Streams:
        """Compute both streams' scores of one bag [N, D]."""
        scores = self.instance(bag)
        pooled = self._likeness(bag, scores.argmax(dim=0)).T @ bag
        return Streams(scores.max(dim=0).values, self.bag(pooled.unsqueeze(0)).flatten())

    def by_patch(self, bag: Tensor, coords: Tensor | None = None) -> PatchParts:
        """See `BagClassifier.by_patch`.

        Half of a logit is the critical patch's; the other half is divided by likeness to the
        critical patches.
        """
        largest = self.instance(bag).max(dim=0)
        likeness = self._likeness(bag, largest.indices)  # [N, C]
        parts = torch.einsum("nk,nd,ckd->nc", likeness, bag, self.bag.weight)
        assert self.bag.bias is not None
        parts = parts + likeness * self.bag.bias
        parts[largest.indices, torch.arange(parts.shape[1], device=bag.device)] += largest.values
        return PatchParts(parts / 2, likeness.mean(dim=1))

    def _likeness(self, bag: Tensor, critical: Tensor) -> Tensor:
        """Return the attention of each class's critical patch to all patches, [N, C]."""
        queries = self.query(bag)
        likeness: Tensor = queries @ queries[critical].T / _QUERY_DIM**0.5
        return likeness.softmax(dim=0)

    def forward(self, bags: Sequence[Tensor], labels: Tensor | None = None) -> BagsLogits:
        """See `BagClassifier.forward`; the logits are the mean of both streams."""
        both = [self.streams(bag.float()) for bag in bags]
        instance = torch.stack([scores.instance for scores in both])
        bag = torch.stack([scores.bag for scores in both])
        extra = None
        if labels is not None:
            extra = (self.task.loss(instance, labels) + self.task.loss(bag, labels)) / 2
        return BagsLogits((instance + bag) / 2, extra)

    def loss(self, output: BagsLogits, labels: Tensor) -> Tensor:
        """See `BagClassifier.loss`; this is the mean of both streams' losses."""
        assert output.extra_loss is not None  # labels were given
        return output.extra_loss
