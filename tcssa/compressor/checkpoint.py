"""Compressors on disk.

Ours is a safetensors file whose metadata hold the configuration, so that one file is enough.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save
from torch import Tensor

from tcssa.compressor.compressor import SlotCompressor
from tcssa.compressor.config import CompressorConfig
from tcssa.compressor.reference import convert_state, read_state
from tcssa.errors import CheckpointError, RunError
from tcssa.features.extraction_record import ExtractionRecord
from tcssa.files import atomic
from tcssa.files.boundary import reading, require_file
from tcssa.files.checksums import file_sha256
from tcssa.files.tensors import read_safetensors
from tcssa.files.text import parse_json, validated
from tcssa.hub import local_model
from tcssa.run import CHECKPOINT_FILE, RUN_FILE, read_run, selected_checkpoint

Module = TypeVar("Module", bound=torch.nn.Module)

_PREFIX = "compressor."
_OLD_EMBEDDING = "embed.0."
"""Prefix of an embedding's tensors where the classifier had it, and not its compressor."""
_LAYOUT_VERSION = 1
"""Version of the tensors' names and axes; a file of another version is refused, not misread."""
_METADATA_KEY = "tcssa"
"""All facts stand under one key as JSON: safetensors writes several in random order, and a
checkpoint should be the same bytes each time it is made."""


@dataclass(frozen=True)
class LoadedCompressor:
    """A compressor and its origin."""

    model: SlotCompressor
    path: Path
    """The file it was read from."""
    sha256: str
    """Hash of that file."""
    encoder: str | None
    """Encoder of the features it was trained on; None where it was not recorded."""
    extraction: ExtractionRecord = field(default_factory=ExtractionRecord)
    """How these features' patches were made, as far as the run of the checkpoint states it."""


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
            ``moe_compressor.pt`` (read without running any code from the file); or an address
            on the hub, ``hf:owner/name`` with or without ``@revision``.

    Raises:
        CheckpointError: The file is missing, broken, or holds no compressor.
        RunError: The directory is not a run directory, or its run is not finished.
        HubError: The model is not on the hub, or is not the one that was pushed.
    """
    return open_checkpoint(path).model


def open_checkpoint(path: Path | str) -> LoadedCompressor:
    """Load a compressor together with its origin; see `load_compressor`."""
    path = local_model(path)
    if path.is_dir():
        path = selected_checkpoint(path)
    require_file(path, CheckpointError)
    encoder = None
    if path.suffix == ".safetensors":
        tensors, facts = read_tensors(path)
        config = config_from_facts(facts, path)
        encoder = facts.get("encoder")
        if not isinstance(encoder, str | None):
            raise CheckpointError(path, "its encoder is no name")
        state = {
            name.removeprefix(_PREFIX): value
            for name, value in tensors.items()
            if name.startswith(_PREFIX)
        }
    else:
        reference_state, top_k = read_state(path)
        config, state = convert_state(reference_state, path, top_k)
    model = load_strictly(lambda: SlotCompressor(config), state, path)
    return LoadedCompressor(model.eval(), path, file_sha256(path), encoder, _extraction(path))


def _extraction(checkpoint: Path) -> ExtractionRecord:
    """Read how patches were made from the run that a checkpoint is of; it may be of none."""
    of_a_run = checkpoint.name == CHECKPOINT_FILE
    for folder in (checkpoint.parent, checkpoint.parent.parent) if of_a_run else ():
        with suppress(RunError):  # a checkpoint is whole without it
            stated = read_run(folder).get("extraction", {})
            return validated(stated, folder / RUN_FILE, RunError, ExtractionRecord)
    return ExtractionRecord()


def compressor_from_reference(
    state: Mapping[str, Tensor], path: Path | str = "state dict"
) -> SlotCompressor:
    """Build a compressor from the reference implementation's state dict.

    Args:
        state: Its keys, with or without the prefix ``compressor.``; others are ignored.
        path: The file it comes from, for errors.

    Raises:
        CheckpointError: Keys are missing or shapes disagree.
    """
    config, converted = convert_state(state, path)
    return load_strictly(lambda: SlotCompressor(config), converted, Path(path))


def compressor_facts(config: CompressorConfig, encoder: str | None) -> dict[str, Any]:
    """Collect the facts by which `load_compressor` recognises a compressor in a checkpoint.

    Args:
        config: Configuration of the compressor.
        encoder: Encoder of the features; None if it is not known.

    Returns:
        The facts, JSON-able, as `write_tensors` takes them.
    """
    return {"layout": _LAYOUT_VERSION, "compressor": config.facts(), "encoder": encoder}


def config_from_facts(facts: Mapping[str, Any], path: Path) -> CompressorConfig:
    """Return the configuration that `compressor_facts` recorded.

    Args:
        facts: Facts from the metadata of a checkpoint.
        path: The checkpoint, named in errors.

    Raises:
        CheckpointError: The facts hold no compressor, one of another tensor layout, or a
            configuration that is not valid.
    """
    if facts.get("layout", _LAYOUT_VERSION) != _LAYOUT_VERSION:
        raise CheckpointError(
            path,
            f"has tensor layout {facts['layout']!r:.40}, this tcssa reads {_LAYOUT_VERSION}",
            hint="use the tcssa version that made it",
        )
    if method := facts.get("method"):
        name = method.get("name") if isinstance(method, Mapping) else method
        raise CheckpointError(
            path,
            f"is of --model {name!s:.40}, which has no compressor",
            hint="predict with its run, or train one with --model tcssa",
        )
    if "compressor" not in facts:
        raise CheckpointError(path, "holds no tcssa compressor")
    return validated(facts["compressor"], path, CheckpointError, CompressorConfig)


def load_strictly(build: Callable[[], Module], state: Mapping[str, Tensor], path: Path) -> Module:
    """Build a model and load a state dict that must match it exactly.

    The file says what shape the model has, and can say so without holding a single tensor of it. So
    the model is built without memory first, and its tensors are compared with those in the file.

    Args:
        build: Makes the model; it is called twice.
        state: Its tensors by name.
        path: The file that both come from, named in errors.

    Raises:
        CheckpointError: The model cannot be built, or tensors differ from its own in name or shape.
    """
    with reading(path, CheckpointError), torch.device("meta"):
        outline = build()
    require_fit(outline.state_dict(), state, path)
    model = build()
    model.load_state_dict(state)
    return model


def require_fit(
    expected: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path, hint: str | None = None
) -> None:
    """Require a file to hold exactly the expected tensors, in their shapes.

    Args:
        expected: The model's tensors by name.
        state: The file's tensors by name.
        path: The file, named in errors.
        hint: The next step for the user; None leaves it to the error's type.

    Raises:
        CheckpointError: Names or shapes differ; the first is named.
    """
    wanted = {name: list(value.shape) for name, value in expected.items()}
    found = {name: list(value.shape) for name, value in state.items()}
    if wanted == found:
        return
    differing = sorted(n for n in {*wanted, *found} if wanted.get(n) != found.get(n))
    first = differing[0]
    raise CheckpointError(
        path,
        f"its tensors do not fit the model: {len(differing)} differ, the first is {first[:80]} "
        f"(found {found.get(first, 'none')}, expected {wanted.get(first, 'none')})",
        hint=hint,
    )


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors, and JSON-able facts about them, as one safetensors file, atomically.

    Args:
        path: The file to write.
        tensors: Tensors by name, on any device.
        facts: Stored in the file's metadata.
    """
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {_METADATA_KEY: json.dumps(facts, sort_keys=True)}
    atomic.write_bytes(path, save(contiguous, metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    An embedding that a classifier has, as in older files, is returned as its compressor's.

    Returns:
        The tensors by name, and the facts; a file written by other software has none.

    Raises:
        CheckpointError: The file is missing or broken.
    """
    tensors, metadata = read_safetensors(path, CheckpointError)
    facts = parse_json(metadata.get(_METADATA_KEY, "{}"), path, CheckpointError, top=dict)
    classifier, compressor = facts.get("classifier"), facts.get("compressor")
    if isinstance(classifier, dict) and isinstance(compressor, dict):
        patch_dim = classifier.pop("embedded_from", None)
        if patch_dim is not None:
            compressor["embedded_from"] = patch_dim
            tensors = {_moved_in(name): value for name, value in tensors.items()}
    return tensors, facts


def _moved_in(name: str) -> str:
    """Return a tensor's name in the compressor, if it is of a classifier's embedding."""
    is_embedding = name.startswith(_OLD_EMBEDDING)
    return f"{_PREFIX}embed.{name.removeprefix(_OLD_EMBEDDING)}" if is_embedding else name
