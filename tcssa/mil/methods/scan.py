"""The selective scan over a plane (2DMamba, Zhang et al. 2025, arXiv 2412.00678).

A cell's state gathers all cells above it and to its left. Two scans do that, the second over the
output of the first, with one decay Ā for both:

    g[i, j] = Ā[i, j] g[i, j-1] + B̄[i, j] x[i, j]        along rows
    h[i, j] = Ā[i, j] h[i-1, j] + g[i, j]                along columns
    y[i, j] = Σ_s C[i, j, s] h[i, j, s]

with Ā = exp(Δ A) and B̄ = Δ B, as in Mamba. Each scan steps along one side of the grid and works on
all of the other side at once. There are no divisions or logarithms, so small decays are exact
zeros and not 0/0. The gradient of a scan is a scan from the other end.

Shapes: H rows, W columns, E channels, S states a channel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

_MOST_STATES = 2**22
"""States that are held at once. Where a grid has more, its channels are processed in parts, and the
backward pass recomputes each part, so that memory grows with cells and not with states."""


class _Recurrence(torch.autograd.Function):
    """h_t = a_t h_{t-1} + b_t along one dimension."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, inputs: Tensor, dim: int) -> Tensor:
        """See `recurrence`."""
        states = torch.empty_like(inputs)
        a, b, h = decay.unbind(dim), inputs.unbind(dim), states.unbind(dim)
        h[0].copy_(b[0])
        for t in range(1, len(h)):
            torch.addcmul(b[t], a[t], h[t - 1], out=h[t])
        ctx.save_for_backward(decay, states)
        ctx.dim = dim
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """See `torch.autograd.Function.backward`.

        G_t = g_t + a_{t+1} G_{t+1} is the gradient of the inputs, G_t h_{t-1} that of the decay.
        """
        decay, states = ctx.saved_tensors
        of_inputs, of_decay = torch.empty_like(states), torch.zeros_like(decay)
        a, h = decay.unbind(ctx.dim), states.unbind(ctx.dim)
        g, total = grad.unbind(ctx.dim), of_inputs.unbind(ctx.dim)
        by_decay = of_decay.unbind(ctx.dim)
        total[-1].copy_(g[-1])
        for t in range(len(h) - 1, 0, -1):
            torch.mul(total[t], h[t - 1], out=by_decay[t])
            torch.addcmul(g[t - 1], a[t], total[t], out=total[t - 1])
        return of_decay, of_inputs, None


def recurrence(decay: Tensor, inputs: Tensor, dim: int) -> Tensor:
    """Compute all states of h_t = a_t h_{t-1} + b_t along a dimension, h before the first being 0.

    Args:
        decay: a, of any shape.
        inputs: b, of the same shape.
        dim: Dimension of t.
    """
    states: Tensor = _Recurrence.apply(decay, inputs, dim)  # type: ignore[no-untyped-call]
    return states


def selective_scan_2d(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Read, for every cell, the states of all cells above and to its left.

    Args:
        x: Inputs, [H, W, E].
        delta: Step sizes Δ, positive, [H, W, E].
        a: A of the decay, negative, [E, S].
        b: B, how inputs enter the states, [H, W, S].
        c: C, how states are read, [H, W, S].

    Returns:
        y, [H, W, E].
    """
    height, width, channels = x.shape
    size = max(1, _MOST_STATES // (height * width * a.shape[1]))
    if size >= channels:
        return _scan_channels(x, delta, a, b, c)
    parts = zip(
        torch.split(x, size, dim=2),
        torch.split(delta, size, dim=2),
        torch.split(a, size),
        strict=True,
    )
    outputs = [
        checkpoint(_scan_channels, *part, b, c, use_reentrant=False, preserve_rng_state=False)
        for part in parts
    ]
    return torch.cat(outputs, dim=2)


def _scan_channels(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    decay = torch.exp(delta.unsqueeze(-1) * a)
    entering = (delta * x).unsqueeze(-1) * b.unsqueeze(2)
    states = recurrence(decay, recurrence(decay, entering, dim=1), dim=0)
    return (states @ c.unsqueeze(-1)).squeeze(-1)
