"""Readers of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fuzz.mutations.safetensors_file import mutate_safetensors
from fuzz.oracles import arrays
from fuzz.seeds import checkpoints as seeds
from fuzz.target import Target
from fuzz.targets.features import mutate_torch
from tcssa import load_compressor
from tcssa.errors import CheckpointError, RunError, UsageError
from tcssa.mil.classifier.classifiers import load_classifier

_ERRORS = (CheckpointError, RunError)
"""A folder is taken for a run."""


def read_compressor(path: Path) -> dict[str, Any]:
    """Load a compressor: its settings and its weights."""
    model = load_compressor(path)
    return {"config": model.config, "state": model.state_dict()}


def read_classifier(path: Path) -> dict[str, Any]:
    """Load a classifier: its weights, and what its outputs stand for."""
    model = load_classifier(path)
    return {"outputs": model.task.outputs, "state": model.state_dict()}


TARGETS = (
    Target(
        "safetensors", ".safetensors", seeds.compressor_files, read_compressor, _ERRORS,
        mutate_safetensors, arrays.check_tensors,
    ),
    Target(
        "classifier", ".safetensors", seeds.classifier_files, read_classifier,
        (CheckpointError, UsageError), mutate_safetensors, arrays.check_tensors,
    ),
    Target(
        "pth", ".pth", seeds.reference_files, read_compressor, _ERRORS, mutate_torch,
        arrays.check_reference,
    ),
)  # fmt: skip
