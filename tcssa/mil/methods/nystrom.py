"""Nyström attention (Xiong et al. 2021, arXiv 2102.03902): attention through landmarks.

softmax(QKᵀ) is approximated by softmax(Q K̃ᵀ) · pinv(softmax(Q̃ K̃ᵀ)) · softmax(Q̃ Kᵀ), where Q̃
and K̃ are means of neighbouring queries and keys (the landmarks), and the pseudo-inverse is iterated
(eq. 13–15). A depthwise convolution of the values is added, as in the paper's model.

As in the implementation that TransMIL uses, the sequence is padded in front with zeros to a
multiple of the landmarks, and these zeros are keys like any other. No small, current release of
that implementation is maintained, so it is written out here.

Equal tokens have equal rows and columns in every matrix above, so one zero stands for all of them,
with their number as its weight in each softmax; likewise for landmarks of zeros alone. The results
are those of the padded sequence, and a bag of ten patches no longer costs 256 landmarks.

Shapes: h heads, n tokens, m landmarks (those of zeros alone counted once), d numbers a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_PINV_ITERATIONS = 6
_BLOCK = 32
"""Tokens that one matrix product convolves."""


class NystromAttention(nn.Module):
    """Multi-head Nyström attention over one sequence [n, dim].

    Args:
        dim: Length of a token, also of the output.
        num_heads: h.
        num_landmarks: m.
        kernel_size: Length of the convolution of the values, in tokens.
        dropout: Dropout on the output.
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
        """Apply attention to tokens [n, dim], and return [n, dim]."""
        query, key, value = (
            part.unflatten(1, (self.num_heads, -1)).transpose(0, 1)
            for part in self.to_qkv(tokens).chunk(3, dim=1)
        )
        query = query * query.shape[-1] ** -0.5
        per_mark = -(-len(tokens) // self.num_landmarks)
        zeros = per_mark * self.num_landmarks - len(tokens)
        query_marks, key_marks = (_landmarks(part, per_mark, zeros) for part in (query, key))
        keys = _one_zero_for(zeros, key)
        weights = _weights(zeros, keys)
        mark_weights = _weights(zeros // per_mark, key_marks)
        to_marks = _softmax(query @ key_marks.mT, mark_weights)
        among_marks = _softmax(query_marks @ key_marks.mT, mark_weights)
        from_marks = _softmax(query_marks @ keys.mT, weights)[:, :, -len(tokens) :]
        out = (to_marks @ pseudo_inverse(among_marks, mark_weights)) @ (from_marks @ value)
        out = out + convolve_tokens(value, self.res_conv.weight[:, 0, :, 0])
        mixed: Tensor = self.to_out(out.transpose(0, 1).flatten(1))
        return mixed


def convolve_tokens(tokens: Tensor, kernel: Tensor) -> Tensor:
    """Convolve every head's tokens along n with the head's own kernel.

    The result is that of ``Conv2d(h, h, (k, 1), padding=(k // 2, 0), groups=h)``, computed by
    products with a band matrix: oneDNN's gradients of that layer are off by 2 to 50 % where n is
    256, 4096 and at every fifteenth other length (k = 33, float32, on CPUs with AVX-512; torch 2.13
    and 2.14).

    Args:
        tokens: [h, n, d].
        kernel: One kernel a head, [h, k], k odd.

    Returns:
        [h, n, d].
    """
    size, length = kernel.shape[1], tokens.shape[1]
    blocks = -(-length // _BLOCK)
    filled = F.pad(tokens, (0, 0, size // 2, size // 2 + blocks * _BLOCK - length))
    windows = filled.unfold(1, _BLOCK + size - 1, _BLOCK)  # [h, blocks, d, block + k - 1]
    # k numbers and then as many zeros as a block has tokens are one longer than the band is wide:
    # so, repeated, they move on by one from row to row
    rows = F.pad(kernel, (0, _BLOCK)).repeat(1, _BLOCK)[:, : _BLOCK * (_BLOCK + size - 1)]
    band = rows.reshape(len(rows), _BLOCK, -1)  # [h, block, block + k - 1]
    convolved: Tensor = (windows @ band.mT[:, None]).transpose(2, 3).flatten(1, 2)
    return convolved[:, :length]


def _landmarks(tokens: Tensor, per_mark: int, zeros: int) -> Tensor:
    """Average neighbouring tokens, with zeros in front: [h, n, d] to [h, m, d]."""
    empty, begun = divmod(zeros, per_mark)
    num_heads, _, dim = tokens.shape
    marks = F.pad(tokens, (0, 0, begun, 0)).reshape(num_heads, -1, per_mark, dim).mean(dim=2)
    return _one_zero_for(empty, marks)


def _one_zero_for(count: int, tokens: Tensor) -> Tensor:
    """Put one zero in front of tokens [h, n, d] if ``count`` is not 0."""
    return F.pad(tokens, (0, 0, 1, 0)) if count else tokens


def _weights(count: int, tokens: Tensor) -> Tensor:
    """Return how many tokens each of [h, n, d] stands for, [n]; the first for ``count``, if any."""
    weights = tokens.new_ones(tokens.shape[1])
    if count:
        weights[0] = count
    return weights


def _softmax(scores: Tensor, weights: Tensor) -> Tensor:
    """Compute the softmax over the last axis, in which each entry counts ``weights`` times."""
    return (scores + weights.log()).softmax(dim=-1)


def pseudo_inverse(matrix: Tensor, weights: Tensor) -> Tensor:
    """Compute the Moore–Penrose inverse of square matrices [h, m, m] by iteration (eq. 15).

    Args:
        matrix: Matrices whose column j is the sum of ``weights[j]`` equal columns, and whose row i
            stands for ``weights[i]`` equal rows.
        weights: [m].

    Returns:
        [h, m, m], of the same form.
    """
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    magnitude = matrix.abs()
    columns = (weights @ magnitude) / weights
    # one scale for all heads, as in the published code: the largest row sum times column sum
    scale = magnitude.sum(dim=-1).max() * columns.max()
    inverse = matrix.mT * weights / weights[:, None] / scale
    for _ in range(_PINV_ITERATIONS):
        product = matrix @ inverse
        inner = 7 * identity - product
        inner = 15 * identity - product @ inner
        inverse = 0.25 * inverse @ (13 * identity - product @ inner)
    return inverse
