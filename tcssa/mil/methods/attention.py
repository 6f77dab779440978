"""Attention over the patches of a bag (Ilse et al. 2018, arXiv 1802.04712, eq. 8 and 9)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tcssa.mil.methods.base import PatchParts


class GatedAttention(nn.Module):
    """Scores a_j = w (tanh(V h_j) · σ(U h_j)), eq. 9; as many rows of w as heads.

    Args:
        dim: Length of h.
        hidden_dim: Rows of V and U.
        num_heads: Scores per patch.
        dropout: After tanh and σ, in training.
    """

    def __init__(self, dim: int, hidden_dim: int, num_heads: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.value = nn.Linear(dim, hidden_dim)
        self.gate = nn.Linear(dim, hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(hidden_dim, num_heads)

    def forward(self, hidden: Tensor) -> Tensor:
        """Compute the scores [heads, N] of patches [N, dim], before the softmax over patches."""
        value = self.dropout(torch.tanh(self.value(hidden)))
        gate = self.dropout(torch.sigmoid(self.gate(hidden)))
        scores: Tensor = self.score(value * gate)
        return scores.T


def pool(scores: Tensor, hidden: Tensor) -> Tensor:
    """Average patches, weighted by the softmax of their scores.

    Args:
        scores: Scores before the softmax over patches, [heads, N].
        hidden: Patches, [N, dim].

    Returns:
        One mean a head, [heads, dim].
    """
    return scores.softmax(dim=1) @ hidden


def parts_of(scores: Tensor, patch_logits: Tensor) -> PatchParts:
    """Divide the logits of attended patches among them: attention times the patch's own logits.

    Args:
        scores: Scores before the softmax over patches, [1, N], or [C, N] with one for each logit.
        patch_logits: The logits that each patch has as a bag of its own, bias included, [N, C].
    """
    weights = scores.softmax(dim=1)
    return PatchParts(weights.T * patch_logits, weights.mean(dim=0))
