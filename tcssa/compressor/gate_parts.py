"""The gate's weights in the features' own type, without loss.

Tensor cores multiply halves with halves. A float32 weight is the sum of a few numbers of the
features' type, so a few products give float32's logits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from tcssa.compressor.fused_plan import padded_slots

PARTS = {torch.float16: 2, torch.bfloat16: 3, torch.float32: 1}
"""Numbers of a type whose sum is a float32: 2 × 11 bits of fp16, 3 × 8 of bf16, itself.

The kernel can process float32 too, if it is called directly; `takes` leaves that to plain torch."""
HEADROOM = {torch.float16: 14, torch.bfloat16: 0, torch.float32: 0}
"""Scaled weights reach 2^14 in float16, whose smallest numbers are not small enough."""

_SPLITS = WeakTensorKeyDictionary()
"""For the weights of a gate: their state when they were split, and the parts."""


def split_once(gate_weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, float]:
    """Split a gate's weights by `split_gate`, once and not for every chunk of every slide.

    Args:
        gate_weight: W_g, [K, D].
        dtype: Type of the features.

    Returns:
        See `split_gate`.
    """
    if gate_weight.is_inference():  # such tensors do not tell whether they were changed
        return split_gate(gate_weight.float(), dtype)
    state = (dtype, gate_weight.device, gate_weight.data_ptr(), gate_weight._version)
    if gate_weight not in _SPLITS or _SPLITS[gate_weight][0] != state:
        with torch.no_grad():
            _SPLITS[gate_weight] = (state, split_gate(gate_weight.float(), dtype))
    parts: tuple[Tensor, float] = _SPLITS[gate_weight][1]
    return parts


def split_gate(gate_weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, float]:
    """Split the gate's weights into a sum of numbers of the features' type.

    A half times a half is exact in the tensor cores' float32, so logits are float32's although
    only halves go in. Casting the weights to half instead would send about one patch in a hundred
    to another second slot.

    Args:
        gate_weight: W_g, [K, D], float32.
        dtype: Type of the features.

    Returns:
        The parts [PARTS, KP, D], zero beyond K; and the factor to multiply the logits by: in
        float16 the weights are scaled up by a power of two, so that the second parts are not
        subnormal.
    """
    num_slots, feature_dim = gate_weight.shape
    shape = (PARTS[dtype], padded_slots(num_slots), feature_dim)
    parts = torch.zeros(shape, dtype=dtype, device=gate_weight.device)
    unit = 1.0
    if HEADROOM[dtype]:
        _, exponent = torch.frexp(gate_weight.abs().max())
        unit = 2.0 ** max(min(int(exponent) - HEADROOM[dtype], 100), -100)
    rest = gate_weight.detach() / unit
    for part in parts:
        part[:num_slots] = rest.to(dtype)
        rest = rest - part[:num_slots].float()
    return parts, unit
