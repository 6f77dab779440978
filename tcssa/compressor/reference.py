"""Checkpoints of the reference TC-SSA implementation.

Its state holds K experts as modules (``experts.{k}.net.0.weight`` …); ours stacks them. The
files are pickles, and are read by torch's restricted unpickler: tensors, plain containers,
numpy scalars and argument namespaces come in, anything else is refused before it runs.
"""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tcssa.compressor.config import CompressorConfig
from tcssa.errors import CheckpointError

_EXPERT_KEYS = {
    # ours -> the reference's, and whether the matrix is transposed
    "w_in": ("net.0.weight", True),
    "b_in": ("net.0.bias", False),
    "w_out": ("net.3.weight", True),
    "b_out": ("net.3.bias", False),
    "norm_weight": ("net.4.weight", False),
    "norm_bias": ("net.4.bias", False),
}


def convert_state(
    state: Mapping[str, Tensor], path: Path | str = "state dict", top_k: int = 2
) -> tuple[CompressorConfig, dict[str, Tensor]]:
    """Turn the reference's state dict into a configuration and our state dict.

    Args:
        state: With or without the prefix ``compressor.``; keys of other parts are ignored.
        path: Named in errors.
        top_k: Slots a patch goes to, which no tensor tells; 2 in the paper.

    Raises:
        CheckpointError: Keys are missing or shapes disagree.
    """
    state = {key.removeprefix("compressor."): value for key, value in state.items()}
    if "gate.weight" not in state:
        raise CheckpointError(
            path, "holds no TC-SSA compressor: there is no gate.weight", hint=_what_is_read()
        )
    num_slots, feature_dim = state["gate.weight"].shape
    try:
        converted = {f"router.gate.{kind}": state[f"gate.{kind}"] for kind in ("weight", "bias")}
        for ours, (theirs, transposed) in _EXPERT_KEYS.items():
            stacked = torch.stack([state[f"experts.{k}.{theirs}"] for k in range(num_slots)])
            converted[f"experts.{ours}"] = stacked.mT if transposed else stacked.unsqueeze(1)
    except KeyError as error:
        raise CheckpointError(path, f"the key {error.args[0]!r} is missing") from None
    except RuntimeError as error:
        raise CheckpointError(path, f"experts of different shapes: {error}") from None
    config = CompressorConfig(
        feature_dim=feature_dim,
        num_slots=num_slots,
        top_k=top_k,
        hidden_dim=converted["experts.w_in"].shape[2],
    )
    return config, {key: value.float().contiguous() for key, value in converted.items()}


def read_state(path: Path) -> tuple[dict[str, Tensor], int]:
    """Read the state dict and top_k out of ``best_model.pth`` or ``moe_compressor.pt``.

    Where the training's arguments stand in the file and name a top_k it is theirs, else 2.

    No code from the file runs: what is not data is refused.

    Raises:
        CheckpointError: The file is no checkpoint, is broken, or holds more than data.
    """
    content = read_pickled_data(path)
    top_k = 2
    if isinstance(content, Mapping) and "model_state_dict" in content:
        arguments = content.get("args") or {}
        arguments = arguments if isinstance(arguments, Mapping) else vars(arguments)
        top_k = int(arguments.get("top_k") or top_k)
        content = content["model_state_dict"]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise CheckpointError(path, "holds no state dict of tensors", hint=_what_is_read())
    return dict(content), top_k


def read_pickled_data(path: Path) -> Any:  # whatever plain data the file holds
    """Unpickle a torch file with nothing but data in it.

    Raises:
        CheckpointError: The file is broken or holds more than data.
    """
    try:
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on pickle protocols help nobody here
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused is None:
            reason = "is not a torch file of plain data; nothing in it was run"
            raise CheckpointError(path, reason, hint=_what_is_read()) from None
        raise CheckpointError(
            path,
            f"holds more than data ({refused[1]}) and was not loaded; nothing in it was run",
            hint="save the tensors alone: torch.save(model.state_dict(), file), or safetensors",
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        first_line = str(error).strip().partition("\n")[0]
        reason = f"is not a readable torch file ({first_line[:160] or type(error).__name__})"
        raise CheckpointError(path, reason) from None


def _harmless() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Data types beside tensors that the reference's checkpoints were seen to hold."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]  # numpy keeps it private
    dtypes = {type(np.dtype(name)) for name in ("f2", "f4", "f8", "i4", "i8", "u1", "bool")}
    return [
        scalar,
        (scalar, "numpy.core.multiarray.scalar"),
        np.dtype,
        argparse.Namespace,
        *dtypes,
        *((PurePosixPath, f"{home}.PosixPath") for home in ("pathlib", "pathlib._local")),
        *((PureWindowsPath, f"{home}.WindowsPath") for home in ("pathlib", "pathlib._local")),
    ]


def _what_is_read() -> str:
    """The next step for someone whose file is no compressor."""
    return (
        "give a run directory, a compressor.safetensors, or the reference's best_model.pth or "
        "moe_compressor.pt"
    )
