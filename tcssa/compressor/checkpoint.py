"""Compressors on disk.

Ours is a safetensors file whose metadata hold the configuration, so that one file is enough.
"""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tcssa import atomic
from tcssa.compressor.compressor import SlotCompressor
from tcssa.compressor.config import CompressorConfig
from tcssa.compressor.reference import convert_state, read_state
from tcssa.errors import CheckpointError

_PREFIX = "compressor."
_CONFIG_KEY = "tcssa.compressor_config"


def save_compressor(model: SlotCompressor, path: Path) -> None:
    """Write a compressor as one safetensors file, atomically."""
    tensors = {_PREFIX + name: value for name, value in model.state_dict().items()}
    write_tensors(path, tensors, {_CONFIG_KEY: model.config.model_dump_json()})


def load_compressor(path: Path | str) -> SlotCompressor:
    """Load a compressor, in evaluation mode, on the CPU.

    Args:
        path: A run directory of `tcssa train-mil` (or one of its folds), a safetensors
            checkpoint of ours, or the reference implementation's ``best_model.pth`` or
            ``moe_compressor.pt`` (read without running any code from the file).

    Raises:
        CheckpointError: The file is missing, broken, or holds no compressor.
    """
    path = Path(path)
    if path.is_dir():
        from tcssa.run import selected_checkpoint

        path = selected_checkpoint(path)
    return read_compressor(path)


def read_compressor(path: Path) -> SlotCompressor:
    """Load a compressor from one file; see `load_compressor`."""
    if not path.is_file():
        raise CheckpointError(path, "there is no such file")
    if path.suffix == ".safetensors":
        tensors, metadata = read_tensors(path)
        if _CONFIG_KEY not in metadata:
            raise CheckpointError(path, "holds no tcssa compressor (its metadata name none)")
        try:
            config = CompressorConfig.model_validate_json(metadata[_CONFIG_KEY])
        except ValidationError as error:
            raise CheckpointError(path, f"its configuration is not valid: {error}") from None
        state = {
            name.removeprefix(_PREFIX): value
            for name, value in tensors.items()
            if name.startswith(_PREFIX)
        }
    else:
        config, state = convert_state(read_state(path), path)
    model = SlotCompressor(config)
    load_strictly(model, state, path)
    return model.eval()


def compressor_metadata(config: CompressorConfig) -> dict[str, str]:
    """The metadata by which `load_compressor` knows a checkpoint that holds more than it."""
    return {_CONFIG_KEY: config.model_dump_json()}


def load_strictly(model: torch.nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load a state dict that must fit to the letter.

    Raises:
        CheckpointError: Names or shapes differ.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(path, f"its tensors do not fit the model: {reason}") from None


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file, atomically."""
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    atomic.write_bytes(path, save(contiguous, metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a safetensors file.

    Raises:
        CheckpointError: The file is missing or broken.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = dict(stream.metadata() or {})
            return {name: stream.get_tensor(name) for name in stream.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(path, f"cannot be read ({error})") from None
