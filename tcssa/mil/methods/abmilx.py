"""ABMILX (Tang et al. 2025, arXiv 2506.02408): attention MIL with heads and a global correction.

Each head scores the patches by its own part of the embedding; the scores of all patches are then
corrected by how alike the patches are (A+, self-attention whose values are the scores), and each
head pools its part.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tcssa.mil.methods.base import OneByOne, PatchParts

_QUERY_ROWS = 2048
"""Patches whose similarity to all others is held at once: memory grows with N, not with N²."""


class ABMILX(OneByOne):
    """Multi-head attention pooling with attention plus.

    Args:
        feature_dim: D.
        num_classes: C.
        dim: Width of the embedding.
        num_heads: Parts of the embedding that are pooled apart.
        dropout: In the embedding.
    """

    def __init__(
        self,
        feature_dim: int,
        num_classes: int,
        dim: int = 512,
        num_heads: int = 8,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        head_dim = dim // num_heads
        self.embed = nn.Sequential(nn.Linear(feature_dim, dim), nn.GELU(), nn.Dropout(dropout))
        self.score = nn.Sequential(nn.Linear(head_dim, head_dim), nn.GELU(), nn.Linear(head_dim, 1))
        self.norm = nn.LayerNorm(head_dim)
        self.qk = nn.Linear(head_dim, 2 * head_dim, bias=False)
        self.value = nn.Linear(1, 1, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, num_classes)

    def classify(self, bag: Tensor) -> Tensor:
        """See `OneByOne.classify`."""
        parts, attention = self._attended(bag)
        pooled = attention.mT @ parts  # [h, 1, d]
        logits: Tensor = self.out(self.proj(pooled.flatten()))
        return logits

    def by_patch(self, bag: Tensor, coords: Tensor | None = None) -> PatchParts:
        """See `BagClassifier.by_patch`; constants are shared by the mean attention of the heads."""
        parts, attention = self._attended(bag)
        mean = attention.mean(dim=0)  # [N, 1]
        own = F.linear((attention * parts).transpose(0, 1).flatten(1), self.proj.weight)
        constant = self.out(self.proj.bias)
        return PatchParts(F.linear(own, self.out.weight) + mean * constant, mean.squeeze(1))

    def _attended(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedding by heads, [h, N, d], and the attention of each, [h, N, 1]."""
        parts = self.embed(bag).unflatten(1, (self.num_heads, -1)).transpose(0, 1)
        scores = self.score(parts)
        return parts, (scores + self._correction(parts, scores)).softmax(dim=1)

    def _correction(self, parts: Tensor, scores: Tensor) -> Tensor:
        """Compute each patch's correction from the scores of patches like it, [h, N, 1]."""
        query, key = self.qk(self.norm(parts)).chunk(2, dim=2)
        values = self.value(scores)
        scale = query.shape[-1] ** -0.5
        return torch.cat(
            [
                (rows @ key.mT * scale).softmax(dim=-1) @ values
                for rows in query.split(_QUERY_ROWS, dim=1)
            ],
            dim=1,
        )
