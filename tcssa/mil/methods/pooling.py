"""The simplest methods: mean and maximum over patches, and gated attention.

``abmil`` is gated attention MIL (Ilse et al. 2018, arXiv 1802.04712, eq. 7 and 9), behind a
learned embedding, as is usual in pathology.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tcssa.mil.methods.attention import GatedAttention, parts_of, pool
from tcssa.mil.methods.base import OneByOne, PatchParts


def embedding(feature_dim: int, embed_dim: int, dropout: float) -> nn.Sequential:
    """Make the layer that most methods begin with: Linear, ReLU, Dropout.

    Args:
        feature_dim: D.
        embed_dim: Width of the embedding.
        dropout: Probability of dropout.
    """
    return nn.Sequential(nn.Linear(feature_dim, embed_dim), nn.ReLU(), nn.Dropout(dropout))


class MeanPooling(OneByOne):
    """Classifies the mean patch.

    Args:
        feature_dim: D.
        num_classes: C.
        embed_dim: Width of the embedding.
        dropout: In the embedding.
    """

    def __init__(
        self, feature_dim: int, num_classes: int, embed_dim: int = 512, dropout: float = 0.25
    ) -> None:
        super().__init__()
        self.embed = embedding(feature_dim, embed_dim, dropout)
        self.out = nn.Linear(embed_dim, num_classes)

    def classify(self, bag: Tensor) -> Tensor:
        """See `OneByOne.classify`."""
        logits: Tensor = self.out(self.embed(bag).mean(dim=0))
        return logits

    def by_patch(self, bag: Tensor, coords: Tensor | None = None) -> PatchParts:
        """See `BagClassifier.by_patch`; all patches count alike."""
        equal = bag.new_zeros(1, len(bag))
        return parts_of(equal, self.out(self.embed(bag)))


class MaxPooling(MeanPooling):
    """Takes for each class the largest logit of any patch."""

    def classify(self, bag: Tensor) -> Tensor:
        """See `OneByOne.classify`."""
        patch_logits: Tensor = self.out(self.embed(bag))
        return patch_logits.max(dim=0).values

    def by_patch(self, bag: Tensor, coords: Tensor | None = None) -> PatchParts:
        """See `BagClassifier.by_patch`; a logit belongs to the one patch that has it."""
        largest = self.out(self.embed(bag)).max(dim=0)
        parts = bag.new_zeros(len(bag), len(largest.values))
        parts[largest.indices, torch.arange(parts.shape[1], device=bag.device)] = largest.values
        attention = bag.new_zeros(len(bag))
        counts = torch.ones_like(largest.values) / parts.shape[1]
        return PatchParts(parts, attention.index_add(0, largest.indices, counts))


class ABMIL(OneByOne):
    """Gated attention over embedded patches.

    Args:
        feature_dim: D.
        num_classes: C.
        embed_dim: Width of the embedding.
        attention_dim: Rows of V and U.
        dropout: In embedding and attention.
    """

    def __init__(
        self,
        feature_dim: int,
        num_classes: int,
        embed_dim: int = 512,
        attention_dim: int = 128,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        self.embed = embedding(feature_dim, embed_dim, dropout)
        self.attention = GatedAttention(embed_dim, attention_dim, dropout=dropout)
        self.out = nn.Linear(embed_dim, num_classes)

    def classify(self, bag: Tensor) -> Tensor:
        """See `OneByOne.classify`."""
        hidden = self.embed(bag)
        logits: Tensor = self.out(pool(self.attention(hidden), hidden)[0])
        return logits

    def by_patch(self, bag: Tensor, coords: Tensor | None = None) -> PatchParts:
        """See `BagClassifier.by_patch`; attention times the patch's own logits."""
        hidden = self.embed(bag)
        return parts_of(self.attention(hidden), self.out(hidden))
