"""The work plan of the fused kernel: tiles, segments, and the number of programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Plan(NamedTuple):
    """Sizes of the kernel's tiles; names as in `sum_segments`."""

    block_rows: int
    gate_cols: int
    pool_rows: int
    pool_cols: int
    gate_stages: int
    pool_stages: int
    num_warps: int


def plan(num_slots: int, feature_dim: int, dtype: torch.dtype) -> Plan:
    """Choose tile sizes by the budget of a multiprocessor; no benchmark is run for them.

    Registers (65,536 of 4 bytes, one program of 8 warps, 255 a thread): the sums are KP × pool_cols
    numbers, at most 128 a thread; logits and what softmax makes of them three times KP ×
    block_rows, at most 48 a thread. Shared memory (sm80 163 KB, sm86 and sm89 99 KB, sm90 227 KB):
    the larger of gate_stages × gate_cols × (block_rows + parts × KP) and pool_stages × pool_rows ×
    pool_cols numbers, at most 96 KB. tests/tcssa/compressor/test_fused.py compiles all of them and
    reads both figures off the compiler.

    Args:
        num_slots: K.
        feature_dim: D.
        dtype: Type of the features.
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
    """Return KP: at least 16, as tensor cores ask, and a power of two, as Triton's blocks are."""
    return max(16, _power_of_2(num_slots))


def segments_of(bags: Sequence[Tensor], tiles: Plan, programs: int) -> tuple[Tensor, Tensor, int]:
    """Cut bags into segments, each by its own size alone.

    So a bag's sums do not depend on what else is in the batch. One large bag gives every
    multiprocessor one segment; small ones are cut no finer than two blocks of rows, since each
    segment leaves K·D sums behind.

    Args:
        bags: Patch features of each bag, [N, D], contiguous, of one type and on one device.
        tiles: The plan of the kernel.
        programs: Largest number of segments of a bag.

    Returns:
        For each segment the address of its first row, that row's number among all M, and its number
        of rows, [S, 3]; where each bag's segments begin and end, [B + 1]; and the number of bytes
        that all addresses are a multiple of. The tensors are int64 on the bags' device.
    """
    segments, bounds = list[int](), [0]
    first_row, align = 0, 16
    for bag in bags:
        step = bag.shape[1] * bag.element_size()
        length = tiles.block_rows * max(2, ceil_div(len(bag), tiles.block_rows * programs))
        for begin in range(0, len(bag), length):
            rows = min(length, len(bag) - begin)
            segments += [bag.data_ptr() + begin * step, first_row + begin, rows]
        if bag.data_ptr() % 16 or step % 16:
            align = bag.element_size()
        first_row += len(bag)
        bounds.append(len(segments) // 3)
    both = torch.tensor(segments + bounds, dtype=torch.int64).to(bags[0].device)  # one copy
    return both[: len(segments)].view(-1, 3), both[len(segments) :], align


def programs_at_once(device: torch.device) -> int:
    """Return the largest number of segments that a bag of any size is cut into."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).multi_processor_count
    return 4  # under Triton's interpreter


def ceil_div(number: int, by: int) -> int:
    """Divide and round up.

    Args:
        number: Dividend.
        by: Divisor, at least 1.
    """
    return -(-number // by)


def _power_of_2(number: int) -> int:
    """Return the smallest power of two that is not smaller than a number."""
    return 1 << (number - 1).bit_length()
