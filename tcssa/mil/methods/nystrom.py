"""Nyström attention (Xiong et al. 2021, arXiv 2102.03902): attention through landmarks.

softmax(QKᵀ) is taken for softmax(Q K̃ᵀ) · pinv(softmax(Q̃ K̃ᵀ)) · softmax(Q̃ Kᵀ), where Q̃ and K̃
are means of neighbouring queries and keys (the landmarks), and the pseudo-inverse is iterated
(eq. 13–15). A depthwise convolution of the values is added, as in the paper's model.

As in the implementation that TransMIL uses, the sequence is filled up in front with zeros to a
multiple of the landmarks, and these zeros are keys like any other. Nobody keeps a release of it
that is small and current, so it stands here.

Shapes: h heads, n tokens, m landmarks, d numbers a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_PINV_ITERATIONS = 6


class NystromAttention(nn.Module):
    """Multi-head Nyström attention over one sequence [n, dim].

    Args:
        dim: Length of a token; the output's as well.
        num_heads: h.
        num_landmarks: m.
        kernel_size: Of the convolution of the values, in tokens.
        dropout: On the output.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        num_landmarks: int = 256,
        kernel_size: int = 33,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.num_heads, self.num_landmarks = num_heads, num_landmarks
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(dropout))
        self.res_conv = nn.Conv2d(
            num_heads,
            num_heads,
            (kernel_size, 1),
            padding=(kernel_size // 2, 0),
            groups=num_heads,
            bias=False,
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [n, dim] to [n, dim]."""
        length = len(tokens)
        filled = F.pad(tokens, (0, 0, -length % self.num_landmarks, 0))
        query, key, value = (
            part.unflatten(1, (self.num_heads, -1)).transpose(0, 1)
            for part in self.to_qkv(filled).chunk(3, dim=1)
        )
        query = query * query.shape[-1] ** -0.5
        query_marks, key_marks = self._landmarks(query), self._landmarks(key)
        to_marks = (query @ key_marks.mT).softmax(dim=-1)
        among_marks = (query_marks @ key_marks.mT).softmax(dim=-1)
        from_marks = (query_marks @ key.mT).softmax(dim=-1)
        out = (to_marks @ pseudo_inverse(among_marks)) @ (from_marks @ value)
        out = out + self.res_conv(value.unsqueeze(0))[0]
        mixed: Tensor = self.to_out(out.transpose(0, 1).flatten(1))
        return mixed[-length:]

    def _landmarks(self, tokens: Tensor) -> Tensor:
        """Means of neighbouring tokens: [h, n, d] to [h, m, d]."""
        num_heads, _, dim = tokens.shape
        return tokens.reshape(num_heads, self.num_landmarks, -1, dim).mean(dim=2)


def pseudo_inverse(matrix: Tensor) -> Tensor:
    """The Moore–Penrose inverse of square matrices [h, m, m], iterated (eq. 15)."""
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    magnitude = matrix.abs()
    # one scale for all heads, as in the published code: the largest row sum times column sum
    scale = magnitude.sum(dim=-1).max() * magnitude.sum(dim=-2).max()
    inverse = matrix.mT / scale
    for _ in range(_PINV_ITERATIONS):
        product = matrix @ inverse
        inner = 7 * identity - product
        inner = 15 * identity - product @ inner
        inverse = 0.25 * inverse @ (13 * identity - product @ inner)
    return inverse
