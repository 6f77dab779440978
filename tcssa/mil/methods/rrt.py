"""RRT-MIL (Tang et al. 2024, arXiv 2402.17228): patches are re-embedded before they are pooled.

Regional attention (R-MSA) with a convolution along the keys for position (EPEG, eq. 6), then
attention across regions (CR-MSA, eq. 7–9): every region sends a few representatives, made by a
learned mixing of its patches, and receives their answers. Attention pooling follows.

The zeros that pad the square take part in attention, as in the published code. Regions of zeros
alone all send the same, so one stands for all of them, with their number as its weight.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tcssa.mil.methods.attention import parts_of, pool
from tcssa.mil.methods.base import OneByOne, PatchParts
from tcssa.mil.methods.pooling import embedding
from tcssa.mil.methods.regions import Regions


class _SelfAttention(nn.Module):
    """Multi-head attention [batch, n, dim], optionally with a convolution of its scores."""

    def __init__(self, dim: int, num_heads: int, kernel_size: int | None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.position = None
        if kernel_size is not None:
            self.position = nn.Conv2d(
                num_heads,
                num_heads,
                (kernel_size, 1),
                padding=(kernel_size // 2, 0),
                groups=num_heads,
            )

    def forward(self, tokens: Tensor, weights: Tensor | None = None) -> Tensor:
        """Apply attention in which each token may stand for several equal keys.

        Args:
            tokens: [batch, n, dim].
            weights: How many keys each token stands for, [n]; None for one each.
        """
        query, key, value = (
            part.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for part in self.qkv(tokens).chunk(3, dim=2)
        )
        scores = (query * query.shape[-1] ** -0.5) @ key.mT
        if self.position is not None:
            scores = scores + self.position(scores)
        if weights is not None:
            scores = scores + weights.log()
        mixed: Tensor = self.proj((scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))
        return mixed


class _RegionalAttention(nn.Module):
    """R-MSA: attention within each region, x + attention(norm(x))."""

    def __init__(self, dim: int, num_heads: int, per_side: int, kernel_size: int) -> None:
        super().__init__()
        self.per_side = per_side
        self.norm = nn.LayerNorm(dim)
        self.attention = _SelfAttention(dim, num_heads, kernel_size)

    def forward(self, tokens: Tensor) -> Tensor:
        regions = Regions.of(len(tokens), self.per_side)
        return tokens + regions.join(self.attention(regions.cut(self.norm(tokens))))


class _CrossRegionAttention(nn.Module):
    """CR-MSA: attention between representatives of the regions, x + attention(norm(x))."""

    def __init__(self, dim: int, num_heads: int, per_side: int, num_representatives: int) -> None:
        super().__init__()
        self.per_side = per_side
        self.norm = nn.LayerNorm(dim)
        self.phi = nn.Parameter(torch.empty(dim, num_representatives))
        nn.init.kaiming_uniform_(self.phi, a=5**0.5)
        self.attention = _SelfAttention(dim, num_heads, kernel_size=None)

    def forward(self, tokens: Tensor) -> Tensor:
        regions = Regions.of(len(tokens), self.per_side)
        cut = regions.cut(self.norm(tokens))
        logits = (cut @ self.phi).mT  # [regions, representatives, patches]
        sent = logits.softmax(dim=2) @ cut
        answers = self._answers(sent.transpose(0, 1), regions.num_empty).transpose(0, 1)
        # how much of each answer a patch takes: its rank within the region, and its own preference
        low, high = logits.amin(dim=2, keepdim=True), logits.amax(dim=2, keepdim=True)
        share = (logits - low) / (high - low + 1e-8) * logits.softmax(dim=1)
        return tokens + regions.join(share.mT @ answers)

    def _answers(self, sent: Tensor, empty: int) -> Tensor:
        """Return what M regions receive, [representatives, M, dim]; empty ones send zeros."""
        if not empty:
            return cast(Tensor, self.attention(sent))
        count = sent.shape[1]
        weights = sent.new_ones(count + 1)
        weights[-1] = empty
        answers: Tensor = self.attention(F.pad(sent, (0, 0, 0, 1)), weights)
        return answers[:, :count]


class RRTMIL(OneByOne):
    """Re-embedded regional transformer.

    Args:
        feature_dim: D.
        num_classes: C.
        dim: Width of the tokens.
        num_heads: Heads of the attention within and across regions.
        regions_per_side: Regions along a side of the square.
        kernel_size: Length of EPEG's convolution.
        num_representatives: Tokens that a region sends to the others.
        dropout: Dropout in the embedding.
    """

    def __init__(
        self,
        feature_dim: int,
        num_classes: int,
        dim: int = 512,
        num_heads: int = 8,
        regions_per_side: int = 8,
        kernel_size: int = 15,
        num_representatives: int = 3,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        self.embed = embedding(feature_dim, dim, dropout)
        self.regional = _RegionalAttention(dim, num_heads, regions_per_side, kernel_size)
        self.across = _CrossRegionAttention(dim, num_heads, regions_per_side, num_representatives)
        self.norm = nn.LayerNorm(dim)
        self.attention = nn.Sequential(
            nn.Linear(dim, 128, bias=False), nn.Tanh(), nn.Linear(128, 1, bias=False)
        )
        self.out = nn.Linear(dim, num_classes)

    def classify(self, bag: Tensor) -> Tensor:
        """See `OneByOne.classify`."""
        hidden = self._embedded(bag)
        logits: Tensor = self.out(pool(self.attention(hidden).T, hidden)[0])
        return logits

    def by_patch(self, bag: Tensor, coords: Tensor | None = None) -> PatchParts:
        """See `BagClassifier.by_patch`; a patch stands for what it became among the others."""
        hidden = self._embedded(bag)
        return parts_of(self.attention(hidden).T, self.out(hidden))

    def _embedded(self, bag: Tensor) -> Tensor:
        hidden: Tensor = self.norm(self.across(self.regional(self.embed(bag))))
        return hidden
