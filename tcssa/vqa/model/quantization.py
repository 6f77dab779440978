"""Language models whose weights take 4 or 8 bits, by bitsandbytes.

NF4 (QLoRA, arXiv 2305.14314) with its scales quantised too, or LLM.int8 (arXiv 2208.07339). Linear
layers are quantised while the model is loaded; embedding and output stay as they are. A weight is
unpacked to the model's type whenever it is computed with.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from tcssa.optional import require
from tcssa.vqa.settings import QuantizeKind


def loading_options(
    kind: QuantizeKind, dtype: torch.dtype, device: torch.device | str
) -> dict[str, Any]:
    """Return the options by which transformers quantises a model as it loads it.

    Args:
        kind: Number format of the weights.
        dtype: Type to compute in.
        device: Where the model is to be; it cannot be quantised elsewhere and moved.

    Raises:
        MissingExtraError: bitsandbytes is not installed.
    """
    from transformers import BitsAndBytesConfig

    # it tells of each cast, and of kernels for CPUs that it did not find
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    require("bitsandbytes", "quantize")
    config: Any = BitsAndBytesConfig  # its signature is partly typed
    if kind == "int8":
        made = config(load_in_8bit=True)
    else:
        made = config(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_use_double_quant=True,
        )
    return {"quantization_config": made, "device_map": {"": device}}


def keep_differentiable(model: nn.Module) -> None:
    """Keep 4-bit layers from packing their weights for inference on a CPU.

    In evaluation mode, in which a frozen model is in training too, bitsandbytes packs them for
    AVX-512 for good, and a gradient that comes back through packed weights is lost.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010  # types know no such


def scale_bytes(model: nn.Module) -> int:
    """Count the bytes of the scales that belong to a model's quantised weights."""
    total = 0
    for module in model.modules():
        weight, found = getattr(module, "weight", None), []
        # of 8 bits they are the layer's once it has computed
        found += [getattr(of, "SCB", None) for of in (weight, getattr(module, "state", None))]
        state = getattr(weight, "quant_state", None)
        for part in (state, getattr(state, "state2", None)):
            found += [getattr(part, name, None) for name in ("absmax", "code")]
        total += sum(each.nbytes for each in found if isinstance(each, Tensor))
    return total


def largest_unpacked(model: nn.Module, element_size: int) -> int:
    """Return the bytes of the largest quantised weight as it is computed with; 0 if there is none.

    Args:
        model: The model.
        element_size: Bytes of a number in the type that it computes in.
    """
    sizes = [
        module.in_features * module.out_features
        for module in model.modules()
        if isinstance(module, nn.Linear) and not module.weight.is_floating_point()
    ]
    return max(sizes, default=0) * element_size
