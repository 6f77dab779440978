"""The compressor's sums through the fused kernel, forward and backward.

`fused_sums` does what `Router` and the weighted sums of `SlotCompressor` do, for any number of
bags in one launch. The bags stay where they lie, in tensors of their own: the kernel is given a
table of addresses, so nothing is padded, packed or copied. See docs/gpu.md.

`takes` says whether the kernel should run: it needs Triton (which CUDA builds of torch bring along,
else the extra ``tcssa[triton]``) and a GPU.

Shapes: B bags, N patches of one, M of all, D features, K slots, T = top_k, S segments.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tcssa.compressor.fused_plan import (
    ceil_div,
    padded_slots,
    plan,
    programs_at_once,
    segments_of,
)
from tcssa.compressor.gate_parts import HEADROOM, PARTS, split_once
from tcssa.compressor.router import MAX_LOGIT, salience_of, salient
from tcssa.errors import NonFiniteFeatureError

MAX_SLOTS, MAX_TOP_K = 128, 4
OLDEST_GPU = (8, 0)


@dataclass(frozen=True)
class FusedSums:
    """The sums over the patches of each of B bags."""

    weighted_sum: Tensor
    """Σ P̃ a x of each bag, [B, K, D], float32."""
    mass: Tensor
    """Σ P̃ a, [B, K], float32."""
    probs: Tensor
    """Σ P, [B, K], float32."""
    counts: Tensor
    """How many patches chose each slot, [B, K], float32."""
    logsumexp: Tensor
    """Σ logsumexp z, [B], float32."""
    indices: Tensor
    """The slots of the patches of all bags, most probable first, [M, T], int64."""
    weights: Tensor
    """Their probabilities P̃, [M, T], float32."""
    salience: Tensor
    """The factor a of each patch, [M], float32; empty without salience."""


def takes(bags: Sequence[Tensor], num_slots: int, top_k: int) -> bool:
    """Tell whether the kernel runs these bags best; all others are left to plain torch.

    The kernel is best where tensor cores take the features as they are. float32 features are left
    to plain torch: the kernel, which multiplies them one by one, took 2.6 times as long on an H200.

    Warns once where Triton is all that is missing.

    Args:
        bags: Patch features of each bag, [N, D]; at least one bag.
        num_slots: K.
        top_k: Slots per patch.
    """
    first = bags[0]
    return (
        first.is_cuda
        and first.dtype in (torch.float16, torch.bfloat16)
        and all(bag.dtype == first.dtype and bag.device == first.device for bag in bags)
        and num_slots <= MAX_SLOTS
        and top_k <= MAX_TOP_K
        and torch.cuda.get_device_capability(first.device) >= OLDEST_GPU
        and _triton_is_here()
    )


@cache
def _triton_is_here() -> bool:
    if find_spec("triton") is not None:
        return True
    logging.getLogger(__name__).warning(
        "Triton is not installed: the compressor runs in plain torch, which reads the features "
        "more than once. Install it with: pip install 'tcssa[triton]'"
    )
    return False


def fused_sums(
    bags: Sequence[Tensor],
    gate_weight: Tensor,
    gate_bias: Tensor,
    top_k: int,
    salience_line: Tensor | None = None,
) -> FusedSums:
    """Route all patches and add them up per slot.

    Differentiable in the bags, the gate's weight and bias and the salience's line; the backward
    pass goes through plain torch.

    Args:
        bags: Patch features of each bag, [N, D], all of one type (float16, bfloat16 or float32) and
            on one device; N may be 0.
        gate_weight: W_g, [K, D], K ≤ 128.
        gate_bias: b_g, [K].
        top_k: Slots per patch, 1 to 4.
        salience_line: Weight and bias of the salience, [D + 1]; None for no salience.

    Raises:
        NonFiniteFeatureError: A patch has a NaN or an infinity; the error names bag and row.
    """
    parts, unit = split_once(gate_weight, bags[0].dtype)
    outputs = _FusedSums.apply(  # type: ignore[no-untyped-call]  # untyped in torch
        gate_weight, gate_bias, salience_line, (parts, unit, top_k), *bags
    )
    return FusedSums(*outputs)


class _FusedSums(torch.autograd.Function):
    """The fused sums; the backward pass runs the same sums in plain torch."""

    @staticmethod
    def forward(
        ctx: Any,  # torch gives this no type
        gate_weight: Tensor,
        gate_bias: Tensor,
        salience_line: Tensor | None,
        prepared: tuple[Tensor, float, int],
        *bags: Tensor,
    ) -> tuple[Tensor, ...]:
        """See `torch.autograd.Function.forward`."""
        parts, unit, top_k = prepared
        sums = _launch(bags, parts, unit, gate_bias.float(), top_k, salience_line)
        _require_finite(bags, sums.weights)
        ctx.save_for_backward(gate_weight, gate_bias, salience_line, sums.indices, *bags)
        ctx.mark_non_differentiable(sums.counts, sums.indices)
        return (
            sums.weighted_sum,
            sums.mass,
            sums.probs,
            sums.counts,
            sums.logsumexp,
            sums.indices,
            sums.weights,
            sums.salience,
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """See `torch.autograd.Function.backward`."""
        gate_weight, gate_bias, salience_line, indices, *bags = ctx.saved_tensors
        wanted = [*ctx.needs_input_grad[:3], *ctx.needs_input_grad[4:]]
        given = (gate_weight, gate_bias, salience_line, *bags)
        inputs = [None if tensor is None else tensor.detach() for tensor in given]
        for tensor, is_wanted in zip(inputs, wanted, strict=True):
            if tensor is not None:
                tensor.requires_grad_(is_wanted)
        with torch.enable_grad():
            outputs = _plain_sums(inputs[3:], (inputs[0], inputs[1], inputs[2]), indices)
        weighted_sum, mass, probs, _, logsumexp, _, weights, salience = gradients
        found = iter(
            torch.autograd.grad(
                outputs,
                [tensor for tensor in inputs if tensor is not None and tensor.requires_grad],
                [weighted_sum, mass, probs, logsumexp, weights, salience][: len(outputs)],
                allow_unused=True,
            )
        )
        results = [next(found) if is_wanted else None for is_wanted in wanted]
        return *results[:3], None, *results[3:]


def _plain_sums(
    bags: Sequence[Any],  # tensors: autograd's inputs may be None, and these are not
    parameters: tuple[Any, Any, Tensor | None],
    indices_MT: Tensor,
) -> tuple[Tensor, ...]:
    """Compute the differentiable outputs, with the slots already chosen."""
    gate_weight, gate_bias, salience_line = parameters
    lengths = [len(bag) for bag in bags]
    columns: list[list[Tensor]] = [[], [], [], [], [], []]
    for bag, indices in zip(bags, torch.split(indices_MT, lengths), strict=True):
        rows = bag.float()  # once: gradients of several casts would be added up in half precision
        logits = F.linear(rows, gate_weight.float(), gate_bias.float())
        probs = logits.softmax(dim=1)
        weights = probs.gather(1, indices)
        salience = None
        if salience_line is not None:
            salience = salience_of(rows, salience_line[:-1].float(), salience_line[-1:].float())
        dense = torch.zeros_like(probs).scatter(1, indices, salient(weights, salience))
        made = (
            dense.T @ rows,
            dense.sum(dim=0),
            probs.sum(dim=0),
            logits.logsumexp(dim=1).sum(),
            weights,
            salience,
        )
        for column, value in zip(columns, made, strict=True):
            if value is not None:
                column.append(value)
    of_patches = (torch.cat(column) for column in columns[4:] if column)
    return *(torch.stack(column) for column in columns[:4]), *of_patches


def _launch(
    bags: Sequence[Tensor],
    gate_parts: Tensor,
    gate_unit: float,
    gate_bias: Tensor,
    top_k: int,
    salience_line: Tensor | None,
) -> FusedSums:
    """Run both kernels."""
    from tcssa.compressor.fused_kernel import add_segments, sum_segments

    (num_slots,), feature_dim = gate_bias.shape, bags[0].shape[1]
    dtype, device = bags[0].dtype, bags[0].device
    bags = [bag.contiguous() for bag in bags]  # alive until both kernels are in the queue
    tiles = plan(num_slots, feature_dim, dtype)
    segments, bounds, align = segments_of(bags, tiles, programs_at_once(device))
    bias = torch.full((padded_slots(num_slots),), float("-inf"), device=device)
    bias[:num_slots] = gate_bias

    num_rows = sum(len(bag) for bag in bags)
    length = num_slots * feature_dim + 4 * num_slots
    weights = torch.empty(num_rows, top_k, device=device)
    indices = torch.empty(num_rows, top_k, dtype=torch.int64, device=device)
    is_salient = salience_line is not None
    salience = torch.empty(num_rows if is_salient else 0, device=device)
    table = torch.empty(len(segments), length, device=device)
    totals = torch.empty(len(bags), length, device=device)
    if len(segments):
        num_slices = ceil_div(feature_dim, tiles.pool_cols)
        sum_segments[(len(segments) * num_slices,)](
            segments,
            gate_parts,
            bias,
            gate_unit,
            bias if salience_line is None else salience_line.float().contiguous(),
            weights,
            indices,
            salience,
            table,
            **kernel_constants(num_slots, feature_dim, top_k, dtype, align, is_salient=is_salient),
            num_warps=tiles.num_warps,
        )
    block = 128
    add_segments[(ceil_div(length, block), len(bags))](
        table, bounds, totals, LENGTH=length, BLOCK=block, DEPTH=16
    )
    weighted_sum, rest = torch.split(totals, [num_slots * feature_dim, 4 * num_slots], dim=1)
    mass, probs, counts, logsumexp = rest.reshape(-1, 4, num_slots).unbind(dim=1)
    return FusedSums(
        weighted_sum=weighted_sum.reshape(-1, num_slots, feature_dim),
        mass=mass,
        probs=probs,
        counts=counts,
        logsumexp=logsumexp[:, 0],
        indices=indices,
        weights=weights,
        salience=salience,
    )


def kernel_constants(
    num_slots: int,
    feature_dim: int,
    top_k: int,
    dtype: torch.dtype,
    align: int,
    *,
    is_salient: bool,
) -> dict[str, Any]:
    """Return the constants that `sum_segments` is compiled for, by name.

    Args:
        num_slots: K.
        feature_dim: D.
        top_k: T.
        dtype: Type of the features: float16, bfloat16 or float32.
        align: Bytes that the address of every segment is a multiple of.
        is_salient: Whether patches have a salience.
    """
    import triton.language as tl

    types = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}
    tiles = plan(num_slots, feature_dim, dtype)
    return {
        "X": types[dtype],
        "ALIGN": align,
        "D": feature_dim,
        "K": num_slots,
        "T": top_k,
        "KP": padded_slots(num_slots),
        "PARTS": PARTS[dtype],
        "HEADROOM": HEADROOM[dtype],
        "BLOCK_ROWS": tiles.block_rows,
        "GATE_COLS": tiles.gate_cols,
        "POOL_ROWS": tiles.pool_rows,
        "POOL_COLS": tiles.pool_cols,
        "GATE_STAGES": tiles.gate_stages,
        "POOL_STAGES": tiles.pool_stages,
        "SALIENT": is_salient,
        "MAX_LOGIT": MAX_LOGIT,
    }


def _require_finite(bags: Sequence[Tensor], weights_MT: Tensor) -> None:
    """Require finite features; only the weights are looked at, NaN where a feature is not."""
    if torch.isfinite(weights_MT.sum()):
        return
    parts = torch.split(weights_MT, [len(bag) for bag in bags])
    for index, (bag, weights) in enumerate(zip(bags, parts, strict=True)):
        for row in (~torch.isfinite(weights).all(dim=1)).nonzero()[:, 0].tolist():
            if not torch.isfinite(bag[row]).all():
                raise NonFiniteFeatureError(row, bag=index)
