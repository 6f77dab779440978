"""TransMIL (Shao et al. 2021, arXiv 2106.00908): a transformer over all patches of a bag.

Patches are embedded, repeated from the first on until they fill a square, and pass through two
Nyström attention layers with a pyramid of depthwise convolutions between them (PPEG, algorithm
3), which reads the sequence as that square image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tcssa.mil.methods.base import OneByOne
from tcssa.mil.methods.nystrom import NystromAttention

_KERNELS = (7, 5, 3)


class _Layer(nn.Module):
    """x + attention(norm(x))."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = NystromAttention(dim, num_landmarks=dim // 2)

    def forward(self, tokens: Tensor) -> Tensor:
        attended: Tensor = self.attention(self.norm(tokens))
        return tokens + attended


class _PyramidPosition(nn.Module):
    """PPEG: the square of patches plus its convolutions; the class token is left as it is."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(dim, dim, size, padding=size // 2, groups=dim) for size in _KERNELS
        )

    def forward(self, tokens: Tensor, side: int) -> Tensor:
        """Add the convolutions to the square of patches.

        Args:
            tokens: The class token, then the patches row by row, [1 + side², dim].
            side: Side of the square, in patches.
        """
        image = tokens[1:].T.reshape(1, -1, side, side)
        encoded = image + sum(convolution(image) for convolution in self.convolutions)
        return torch.cat([tokens[:1], encoded[0].flatten(1).T])


class TransMIL(OneByOne):
    """Correlated MIL with a transformer.

    Args:
        feature_dim: D.
        num_classes: C.
        dim: Width of the tokens.
    """

    def __init__(self, feature_dim: int, num_classes: int, dim: int = 512) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(feature_dim, dim), nn.ReLU())
        self.class_token = nn.Parameter(torch.randn(1, dim))
        self.first, self.second = _Layer(dim), _Layer(dim)
        self.position = _PyramidPosition(dim)
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, num_classes)

    def classify(self, bag: Tensor) -> Tensor:
        """See `OneByOne.classify`."""
        hidden = self.embed(bag)
        side = math.isqrt(len(hidden) - 1) + 1
        hidden = torch.cat([hidden, hidden[: side * side - len(hidden)]])
        tokens = self.first(torch.cat([self.class_token, hidden]))
        tokens = self.second(self.position(tokens, side))
        logits: Tensor = self.out(self.norm(tokens[0]))
        return logits
