"""Checkpoints of the reference TC-SSA implementation.

Its state holds K experts as modules (``experts.{k}.net.0.weight`` …); ours stacks them. The
files are pickles, of which `tcssa.files.torch_file` reads data alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tcssa.compressor.config import CompressorConfig
from tcssa.errors import CheckpointError
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.text import validated
from tcssa.files.torch_file import read_torch_file

_EXPERT_KEYS = {
    # ours -> the reference's, and whether the matrix is transposed
    "w_in": ("net.0.weight", True),
    "b_in": ("net.0.bias", False),
    "w_out": ("net.3.weight", True),
    "b_out": ("net.3.bias", False),
    "norm_weight": ("net.4.weight", False),
    "norm_bias": ("net.4.bias", False),
}
_KINDS = ("weight", "bias")


def convert_state(
    state: Mapping[str, Tensor], path: Path | str = "state dict", top_k: int = 2
) -> tuple[CompressorConfig, dict[str, Tensor]]:
    """Turn the reference's state dict into a configuration and our state dict.

    Args:
        state: Tensors by the reference's names, with or without the prefix ``compressor.``; keys of
            other parts are ignored.
        path: The file, named in errors.
        top_k: Slots per patch, which no tensor tells; 2 in the paper.

    Raises:
        CheckpointError: Keys are missing or shapes disagree.
    """
    path = Path(path)
    state = {key.removeprefix("compressor."): value for key, value in state.items()}
    if "gate.weight" not in state:
        raise CheckpointError(
            path, "holds no TC-SSA compressor: there is no gate.weight", hint=_what_is_read()
        )
    with reading(path, CheckpointError):
        num_slots, feature_dim = tensor_shape(state, "gate.weight", 2)
        hidden_dim, _ = tensor_shape(state, "experts.0.net.0.weight", 2)
        shape = {"num_slots": num_slots, "feature_dim": feature_dim, "hidden_dim": hidden_dim}
        config = validated({**shape, "top_k": top_k}, path, CheckpointError, CompressorConfig)
        converted = {f"router.gate.{kind}": _tensor(state, f"gate.{kind}") for kind in _KINDS}
        for ours, (theirs, transposed) in _EXPERT_KEYS.items():
            experts = [_tensor(state, f"experts.{k}.{theirs}") for k in range(num_slots)]
            if any(expert.shape != experts[0].shape for expert in experts):
                raise UnsoundError(f"its experts' {theirs} are of different shapes")
            stacked = torch.stack(experts)
            converted[f"experts.{ours}"] = stacked.mT if transposed else stacked.unsqueeze(1)
    return config, {key: value.float().contiguous() for key, value in converted.items()}


def tensor_shape(state: Mapping[str, Any], key: str, num_dimensions: int) -> tuple[int, ...]:
    """Return the shape of a tensor in a state dict.

    Args:
        state: Tensors by name.
        key: Name of the tensor.
        num_dimensions: The number of dimensions that it must have.

    Raises:
        UnsoundError: The key is missing, or the tensor has another number of dimensions or no
            elements.
    """
    shape = tuple(_tensor(state, key).shape)
    if len(shape) != num_dimensions or not all(shape):
        raise UnsoundError(
            f"{key!r} has the shape {list(shape)}, not [{', '.join('n' * num_dimensions)}]"
        )
    return shape


def _tensor(state: Mapping[str, Any], key: str) -> Tensor:
    if key not in state:
        raise UnsoundError(f"the key {key!r} is missing")
    tensor: Tensor = state[key]
    return tensor


def read_state(path: Path) -> tuple[dict[str, Tensor], int]:
    """Read the state dict and top_k out of ``best_model.pth`` or ``moe_compressor.pt``.

    top_k is that of the training's arguments where the file holds them and they name one, else 2.

    No code from the file runs: what is not data is refused.

    Raises:
        CheckpointError: The file is no checkpoint, is broken, or holds more than data.
    """
    content = read_torch_file(path, CheckpointError)
    top_k = 2
    if isinstance(content, dict) and "model_state_dict" in content:
        top_k = _top_k(content.get("args"), path) or top_k
        content = content["model_state_dict"]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise CheckpointError(path, "holds no state dict of tensors", hint=_what_is_read())
    return dict(content), top_k


def _top_k(arguments: Any, path: Path) -> int | None:
    """Read top_k out of the training's arguments, if they are there and name it."""
    if arguments is None:
        return None
    if not isinstance(arguments, dict):
        raise CheckpointError(path, "its 'args' are no arguments of a training")
    top_k = arguments.get("top_k")
    # not named in the error: printing a number of more than 4300 digits is an error of its own
    if top_k is not None and (type(top_k) is not int or not 0 < top_k < 2**31):
        raise CheckpointError(path, "its top_k is no number of slots")
    return top_k


def _what_is_read() -> str:
    """Return the next step for someone whose file is no compressor."""
    return (
        "give a run directory, a compressor.safetensors, or the reference's best_model.pth or "
        "moe_compressor.pt"
    )
