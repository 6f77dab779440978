"""The compressor's sums through the fused kernel, forward and backward.

`fused_sums` does what `Router` and the weighted sums of `SlotCompressor` do, for any number of
bags in one launch. The bags stay where they lie, in tensors of their own: the kernel is given a
table of addresses, so nothing is padded, packed or copied. See docs/fused-kernel.md.

`takes` says whether the kernel can do it: it needs Triton (which CUDA builds of torch bring along,
else the extra ``tcssa[triton]``) and a GPU.

Shapes: B bags, N patches of one, M of all, D features, K slots, T = top_k, S segments.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from tcssa.errors import NonFiniteFeatureError

MAX_SLOTS, MAX_TOP_K = 128, 4
OLDEST_GPU = (8, 0)

_PARTS = {torch.float16: 2, torch.bfloat16: 3, torch.float32: 1}
"""Numbers of a type whose sum is a float32: 2 × 11 bits of fp16, 3 × 8 of bf16, itself."""
_HEADROOM = {torch.float16: 14, torch.bfloat16: 0, torch.float32: 0}
"""Scaled weights reach 2^14 in float16, whose smallest numbers are not small enough."""


@dataclass(frozen=True)
class FusedSums:
    """What B bags add up to."""

    weighted_sum: Tensor
    """Σ P̃x of each bag, [B, K, D], float32."""
    mass: Tensor
    """Σ P̃, [B, K], float32."""
    probs: Tensor
    """Σ P, [B, K], float32."""
    counts: Tensor
    """How many patches chose each slot, [B, K], float32."""
    logsumexp: Tensor
    """Σ logsumexp z, [B], float32."""
    indices: Tensor
    """The slots of the patches of all bags, most probable first, [M, T], int64."""
    weights: Tensor
    """Their probabilities, [M, T], float32."""


def takes(bags: Sequence[Tensor], num_slots: int, top_k: int) -> bool:
    """Whether the kernel is what runs these bags best; plain torch does the others.

    That is where tensor cores take the features as they are. float32 features are left to plain
    torch: the kernel, which multiplies them one by one, took 2.6 times as long on an H200.

    Says so once, as a warning, where Triton is all that is missing.
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


class Plan(NamedTuple):
    """How the kernel cuts the work; names as in `sum_segments`."""

    block_rows: int
    gate_cols: int
    pool_rows: int
    pool_cols: int
    gate_stages: int
    pool_stages: int
    num_warps: int


def plan(num_slots: int, feature_dim: int, dtype: torch.dtype) -> Plan:
    """Tile sizes by the budget of a multiprocessor; no benchmark is run for them.

    Registers (65,536 of 4 bytes, one program of 8 warps, 255 a thread): the sums are KP × pool_cols
    numbers, at most 128 a thread; logits and what softmax makes of them three times KP ×
    block_rows, at most 48 a thread. Shared memory (sm80 163 KB, sm86 and sm89 99 KB, sm90 227 KB):
    the larger of gate_stages × gate_cols × (block_rows + parts × KP) and pool_stages × pool_rows ×
    pool_cols numbers, at most 96 KB. tests/tcssa/compressor/test_fused.py compiles all of them and
    reads both figures off the compiler.
    """
    slots = padded_slots(num_slots)
    is_float32 = dtype == torch.float32
    sums = 16_384 if is_float32 or slots > 32 else 32_768
    pool_cols = min(sums // slots, 1024, _power_of_2(max(feature_dim, 16)))
    return Plan(
        block_rows=128 if slots <= 32 and not is_float32 else 64,
        gate_cols=32 if is_float32 or slots > 64 else 64,
        pool_rows=16,
        pool_cols=pool_cols,
        # on an H200 162 µs with three stages, 150 with four; the other types have no room for them
        gate_stages=4 if dtype == torch.float16 and slots <= 32 else 3,
        pool_stages=3 if pool_cols < 1024 or not is_float32 else 2,
        num_warps=8,
    )


def padded_slots(num_slots: int) -> int:
    """KP: tensor cores take 16 at least, and Triton's blocks are powers of two."""
    return max(16, _power_of_2(num_slots))


def fused_sums(
    bags: Sequence[Tensor], gate_weight: Tensor, gate_bias: Tensor, top_k: int
) -> FusedSums:
    """Route all patches and add them up per slot.

    Differentiable in the bags, the gate's weight and its bias; the backward pass goes through
    plain torch.

    Args:
        bags: Patch features of each bag, [N, D], all of one type (float16, bfloat16 or float32)
            and on one device; N may be 0.
        gate_weight: W_g, [K, D], K ≤ 128.
        gate_bias: b_g, [K].
        top_k: Slots per patch, 1 to 4.

    Raises:
        NonFiniteFeatureError: A patch has a NaN or an infinity; it names bag and row.
    """
    parts, unit = _split_once(gate_weight, bags[0].dtype)
    outputs = _FusedSums.apply(  # type: ignore[no-untyped-call]  # torch types it not
        gate_weight, gate_bias, (parts, unit, top_k), *bags
    )
    return FusedSums(*outputs)


class _FusedSums(torch.autograd.Function):
    """Forward fused; backward by running the same sums in plain torch."""

    @staticmethod
    def forward(
        ctx: Any,  # torch gives this no type
        gate_weight: Tensor,
        gate_bias: Tensor,
        prepared: tuple[Tensor, float, int],
        *bags: Tensor,
    ) -> tuple[Tensor, ...]:
        parts, unit, top_k = prepared
        sums = _launch(bags, parts, unit, gate_bias.float(), top_k)
        _require_finite(bags, sums.weights)
        ctx.save_for_backward(gate_weight, gate_bias, sums.indices, *bags)
        ctx.mark_non_differentiable(sums.counts, sums.indices)
        return (
            sums.weighted_sum,
            sums.mass,
            sums.probs,
            sums.counts,
            sums.logsumexp,
            sums.indices,
            sums.weights,
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gate_weight, gate_bias, indices, *bags = ctx.saved_tensors
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], *ctx.needs_input_grad[3:]]
        inputs = [tensor.detach() for tensor in (gate_weight, gate_bias, *bags)]
        for tensor, is_wanted in zip(inputs, wanted, strict=True):
            tensor.requires_grad_(is_wanted)
        with torch.enable_grad():
            outputs = _plain_sums(inputs[2:], inputs[0], inputs[1], indices)
        weighted_sum, mass, probs, _, logsumexp, _, weights = gradients
        found = iter(
            torch.autograd.grad(
                outputs,
                [tensor for tensor in inputs if tensor.requires_grad],
                [weighted_sum, mass, probs, logsumexp, weights],
                allow_unused=True,
            )
        )
        results = [next(found) if is_wanted else None for is_wanted in wanted]
        return results[0], results[1], None, *results[2:]


def _plain_sums(
    bags: Sequence[Tensor], gate_weight: Tensor, gate_bias: Tensor, indices_MT: Tensor
) -> tuple[Tensor, ...]:
    """The differentiable outputs, with the slots already chosen."""
    lengths = [len(bag) for bag in bags]
    columns: list[list[Tensor]] = [[], [], [], [], []]
    for bag, indices in zip(bags, torch.split(indices_MT, lengths), strict=True):
        logits = F.linear(bag.float(), gate_weight.float(), gate_bias.float())
        probs = logits.softmax(dim=1)
        weights = probs.gather(1, indices)
        dense = torch.zeros_like(probs).scatter(1, indices, weights)
        made = (
            dense.T @ bag.float(),
            dense.sum(dim=0),
            probs.sum(dim=0),
            logits.logsumexp(dim=1).sum(),
            weights,
        )
        for column, value in zip(columns, made, strict=True):
            column.append(value)
    return *(torch.stack(column) for column in columns[:4]), torch.cat(columns[4])


def _launch(
    bags: Sequence[Tensor], gate_parts: Tensor, gate_unit: float, gate_bias: Tensor, top_k: int
) -> FusedSums:
    """Run both kernels."""
    from tcssa.compressor.fused_kernel import add_segments, sum_segments

    (num_slots,), feature_dim = gate_bias.shape, bags[0].shape[1]
    dtype, device = bags[0].dtype, bags[0].device
    bags = [bag.contiguous() for bag in bags]  # alive until both kernels are in the queue
    tiles = plan(num_slots, feature_dim, dtype)
    segments, bounds, align = _segments(bags, tiles, _programs_at_once(device))
    bias = torch.full((padded_slots(num_slots),), float("-inf"), device=device)
    bias[:num_slots] = gate_bias

    num_rows = sum(len(bag) for bag in bags)
    length = num_slots * feature_dim + 4 * num_slots
    weights = torch.empty(num_rows, top_k, device=device)
    indices = torch.empty(num_rows, top_k, dtype=torch.int64, device=device)
    table = torch.empty(len(segments), length, device=device)
    totals = torch.empty(len(bags), length, device=device)
    if len(segments):
        num_slices = _ceil_div(feature_dim, tiles.pool_cols)
        sum_segments[(len(segments) * num_slices,)](
            segments,
            gate_parts,
            bias,
            gate_unit,
            weights,
            indices,
            table,
            **kernel_constants(num_slots, feature_dim, top_k, dtype, align),
            num_warps=tiles.num_warps,
        )
    block = 128
    add_segments[(_ceil_div(length, block), len(bags))](
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
    )


def kernel_constants(
    num_slots: int, feature_dim: int, top_k: int, dtype: torch.dtype, align: int
) -> dict[str, Any]:
    """What `sum_segments` is compiled for."""
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
        "PARTS": _PARTS[dtype],
        "HEADROOM": _HEADROOM[dtype],
        "BLOCK_ROWS": tiles.block_rows,
        "GATE_COLS": tiles.gate_cols,
        "POOL_ROWS": tiles.pool_rows,
        "POOL_COLS": tiles.pool_cols,
        "GATE_STAGES": tiles.gate_stages,
        "POOL_STAGES": tiles.pool_stages,
    }


_SPLITS = WeakTensorKeyDictionary()
"""Of a gate's weights: their state when they were split, and the parts."""


def _split_once(gate_weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, float]:
    """`split_gate`, but not anew for every chunk of every slide."""
    if gate_weight.is_inference():  # such tensors do not tell whether they were changed
        return split_gate(gate_weight.float(), dtype)
    state = (dtype, gate_weight.device, gate_weight.data_ptr(), gate_weight._version)
    if gate_weight not in _SPLITS or _SPLITS[gate_weight][0] != state:
        with torch.no_grad():
            _SPLITS[gate_weight] = (state, split_gate(gate_weight.float(), dtype))
    parts: tuple[Tensor, float] = _SPLITS[gate_weight][1]
    return parts


def split_gate(gate_weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, float]:
    """The gate's weights as a sum of numbers of the features' type.

    A half times a half is exact in the tensor cores' float32, so logits are float32's although
    only halves go in. Casting the weights to half instead would send about one patch in a hundred
    to another second slot.

    Args:
        gate_weight: W_g, [K, D], float32.
        dtype: Of the features.

    Returns:
        The parts [PARTS, KP, D], zero beyond K; and what to multiply the logits by: in float16
        the weights are scaled up by a power of two, so that the second parts are not subnormal.
    """
    num_slots, feature_dim = gate_weight.shape
    shape = (_PARTS[dtype], padded_slots(num_slots), feature_dim)
    parts = torch.zeros(shape, dtype=dtype, device=gate_weight.device)
    unit = 1.0
    if _HEADROOM[dtype]:
        _, exponent = torch.frexp(gate_weight.abs().max())
        unit = 2.0 ** max(min(int(exponent) - _HEADROOM[dtype], 100), -100)
    rest = gate_weight.detach() / unit
    for part in parts:
        part[:num_slots] = rest.to(dtype)
        rest = rest - part[:num_slots].float()
    return parts, unit


def _segments(bags: Sequence[Tensor], tiles: Plan, programs: int) -> tuple[Tensor, Tensor, int]:
    """Cut bags into segments, each by its own size alone.

    So a bag's sums do not depend on what else is in the batch. One large bag gives every
    multiprocessor one segment; small ones are cut no finer than two blocks of rows, since each
    segment leaves K·D sums behind.

    Returns:
        Of each segment the address of its first row, that row's number among all M, and how many
        rows it has, [S, 3]; where each bag's segments begin and end, [B + 1]; and what all
        addresses are a multiple of. The tensors are int64 on the bags' device.
    """
    segments, bounds = list[int](), [0]
    first_row, align = 0, 16
    for bag in bags:
        step = bag.shape[1] * bag.element_size()
        length = tiles.block_rows * max(2, _ceil_div(len(bag), tiles.block_rows * programs))
        for begin in range(0, len(bag), length):
            rows = min(length, len(bag) - begin)
            segments += [bag.data_ptr() + begin * step, first_row + begin, rows]
        if bag.data_ptr() % 16 or step % 16:
            align = bag.element_size()
        first_row += len(bag)
        bounds.append(len(segments) // 3)
    both = torch.tensor(segments + bounds, dtype=torch.int64).to(bags[0].device)  # one copy
    return both[: len(segments)].view(-1, 3), both[len(segments) :], align


def _programs_at_once(device: torch.device) -> int:
    """How many segments a bag of any size is cut into at most."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).multi_processor_count
    return 4  # under Triton's interpreter


def _require_finite(bags: Sequence[Tensor], weights_MT: Tensor) -> None:
    """Find a non-finite feature by its weights, which are NaN then; nothing else is looked at."""
    if torch.isfinite(weights_MT.sum()):
        return
    parts = torch.split(weights_MT, [len(bag) for bag in bags])
    for index, (bag, weights) in enumerate(zip(bags, parts, strict=True)):
        for row in (~torch.isfinite(weights).all(dim=1)).nonzero()[:, 0].tolist():
            if not torch.isfinite(bag[row]).all():
                raise NonFiniteFeatureError(row, bag=index)


def _ceil_div(number: int, by: int) -> int:
    return -(-number // by)


def _power_of_2(number: int) -> int:
    """The smallest one that is not smaller."""
    return 1 << (number - 1).bit_length()
