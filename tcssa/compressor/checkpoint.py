"""Compressors on disk.

Ours is a safetensors file whose metadata hold the configuration, so that one file is enough.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tcssa import atomic
from tcssa.checksums import file_sha256
from tcssa.compressor.compressor import SlotCompressor
from tcssa.compressor.config import CompressorConfig
from tcssa.compressor.reference import convert_state, read_state
from tcssa.errors import CheckpointError, one_line
from tcssa.run import selected_checkpoint

_PREFIX = "compressor."
_LAYOUT_VERSION = 1
"""Of the tensors' names and axes; a file of another one is refused, not misread."""
_METADATA_KEY = "tcssa"
"""All facts stand under one key as JSON: safetensors writes several in random order, and a
checkpoint should be the same bytes each time it is made."""


@dataclass(frozen=True)
class LoadedCompressor:
    """A compressor and what is known of where it comes from."""

    model: SlotCompressor
    path: Path
    """The file it was read from."""
    sha256: str
    """Hash of that file."""
    encoder: str | None
    """Encoder of the features it was trained on; None where nobody noted it."""


def save_compressor(model: SlotCompressor, path: Path, encoder: str | None = None) -> None:
    """Write a compressor as one safetensors file, atomically.

    Args:
        model: The compressor.
        path: The file to write.
        encoder: Encoder of the features it was trained on.
    """
    tensors = {_PREFIX + name: value for name, value in model.state_dict().items()}
    write_tensors(path, tensors, compressor_facts(model.config, encoder))


def load_compressor(path: Path | str) -> SlotCompressor:
    """Load a compressor, in evaluation mode, on the CPU.

    Args:
        path: A run directory of `tcssa train-mil` (or one of its folds), a safetensors
            checkpoint of ours, or the reference implementation's ``best_model.pth`` or
            ``moe_compressor.pt`` (read without running any code from the file).

    Raises:
        CheckpointError: The file is missing, broken, or holds no compressor.
        RunError: The directory is no run, or one that is not finished.
    """
    return open_checkpoint(path).model


def open_checkpoint(path: Path | str) -> LoadedCompressor:
    """Load a compressor together with its origin; see `load_compressor`."""
    path = Path(path)
    if path.is_dir():
        path = selected_checkpoint(path)
    if not path.is_file():
        raise CheckpointError(path, "there is no such file")
    encoder = None
    if path.suffix == ".safetensors":
        tensors, facts = read_tensors(path)
        config = config_from_facts(facts, path)
        if behind := facts.get("behind"):
            raise CheckpointError(
                path,
                f"its compressor stands behind {behind} and takes no features of patches by itself",
                hint="eval predicts with it; to export or encode, train without --embed-dim",
            )
        encoder = facts.get("encoder")
        state = {
            name.removeprefix(_PREFIX): value
            for name, value in tensors.items()
            if name.startswith(_PREFIX)
        }
    else:
        reference_state, top_k = read_state(path)
        config, state = convert_state(reference_state, path, top_k)
    model = SlotCompressor(config)
    load_strictly(model, state, path)
    return LoadedCompressor(model.eval(), path, file_sha256(path), encoder)


def compressor_facts(
    config: CompressorConfig, encoder: str | None, *, behind: str | None = None
) -> dict[str, Any]:
    """The facts by which `load_compressor` knows a checkpoint that holds more than it.

    Args:
        config: Of the compressor.
        encoder: Of the features.
        behind: What stands between the features and the compressor, if anything does; such a
            compressor is not given out alone.
    """
    facts = {"layout": _LAYOUT_VERSION, "compressor": config.model_dump(), "encoder": encoder}
    return facts if behind is None else {**facts, "behind": behind}


def config_from_facts(facts: Mapping[str, Any], path: Path) -> CompressorConfig:
    """The configuration that `compressor_facts` noted.

    Raises:
        CheckpointError: The facts name no compressor, or one of another layout.
    """
    if facts.get("layout", _LAYOUT_VERSION) != _LAYOUT_VERSION:
        raise CheckpointError(
            path,
            f"has tensor layout {facts['layout']}, this tcssa reads {_LAYOUT_VERSION}",
            hint="use the tcssa version that made it",
        )
    try:
        return CompressorConfig.model_validate(facts["compressor"])
    except KeyError:
        raise CheckpointError(path, "holds no tcssa compressor") from None
    except ValidationError as error:
        raise CheckpointError(path, f"its configuration is not valid: {error}") from None


def load_strictly(model: torch.nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict that must fit to the letter.

    Raises:
        CheckpointError: Names or shapes differ.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = f"its tensors do not fit the model: {one_line(error, 300)}"
        raise CheckpointError(path, reason) from None


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors, and JSON-able facts about them, as one safetensors file, atomically."""
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {_METADATA_KEY: json.dumps(facts, sort_keys=True)}
    atomic.write_bytes(path, save(contiguous, metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote; a file of others has no facts.

    Raises:
        CheckpointError: The file is missing or broken.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            facts = json.loads(metadata.get(_METADATA_KEY, "{}"))
            return {name: stream.get_tensor(name) for name in stream.keys()}, facts  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(path, f"cannot be read ({error})") from None
