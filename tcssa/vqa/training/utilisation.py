"""Model FLOPS utilisation: arithmetic that a training needs, as a share of what its GPU can do.

A token costs 4 P + 2 T floating-point operations: 2 P forward and 2 P for the gradients that go
back through the language model, P its weights without the embedding, and 2 T for the gradients of
the T trained numbers. Attention between tokens and activations that are computed twice do not
count.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tcssa.vqa.model.model import SlideLanguageModel

_PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
"""Operations a second in bfloat16, dense, as the vendor states them, by a part of the GPU's name;
the first that fits counts."""


def flops_a_token(model: SlideLanguageModel) -> int:
    """Count the floating-point operations that a token of a training needs."""
    embedding: Tensor = model.llm.get_input_embeddings().weight
    weights: int = sum(p.numel() for p in model.llm.parameters()) - embedding.numel()
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return 4 * weights + 2 * trained


def peak_flops(device_name: str, precision: str) -> float | None:
    """Return what a GPU can do at most, in operations a second; None where that is not known.

    Args:
        device_name: The GPU's name, as its driver says it.
        precision: ``bf16``, or another, of which nothing is known.
    """
    if precision != "bf16":
        return None
    words = device_name.replace("-", " ").split()
    return next((peak for name, peak in _PEAKS.items() if _names(name.split(), words)), None)


def _names(name: list[str], words: list[str]) -> bool:
    return all(word in words for word in name)


def utilisation(
    a_token: int, tokens_per_s: float, device: torch.device, precision: str, num_devices: int
) -> float | None:
    """Return the share of the GPUs' arithmetic that a training used; None where it is not known.

    Args:
        a_token: Operations of a token, as `flops_a_token` counts them.
        tokens_per_s: Tokens a second, of all GPUs together.
        device: One of the GPUs.
        precision: Number format of the language model.
        num_devices: Number of GPUs.
    """
    if device.type != "cuda":
        return None
    peak = peak_flops(torch.cuda.get_device_name(device), precision)
    return None if peak is None else a_token * tokens_per_s / (peak * num_devices)
