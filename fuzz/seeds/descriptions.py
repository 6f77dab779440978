"""Folders and files that describe something: runs, artefacts, encoders, settings."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fuzz.folders import pack
from tcssa.mil.tasks.serialization import named_task

_MODEL = b"a model"
_SHA256 = hashlib.sha256(_MODEL).hexdigest()
_DTYPES = {"lengths": "int64", "assignments": "int64"}
_TEMPLATE = {
    "no_system": "", "before_system": "<s>", "after_system": "\n", "before_user": "<u>",
    "after_user": "\n", "before_assistant": "<a>", "end": "</s>", "after_assistant": "\n",
}  # fmt: skip


def runs() -> list[bytes]:
    """A finished run with two folds."""
    content = {"schema_version": 1, "tcssa_version": "0", "complete": True, "selected": "fold-1"}
    files = {"fold-0/checkpoint.safetensors": b"", "fold-1/checkpoint.safetensors": b""}
    return [pack({"run.json": _json(content), **files})]


def artefacts() -> list[bytes]:
    """An artefact of one graph."""
    shapes = {
        "features": [None, None, 4], "lengths": [None], "slots": [None, 3, 4], "mass": [None, 3],
        "assignments": [None, None, 2], "weights": [None, None, 2],
    }  # fmt: skip
    tensors = [
        {"name": name, "dtype": _DTYPES.get(name, "float32"), "shape": shape}
        for name, shape in shapes.items()
    ]
    model = {
        "file": "model.onnx", "sha256": _SHA256, "inputs": tensors[:2], "outputs": tensors[2:]
    }  # fmt: skip
    parity_row = {
        "case": "x", "batch": 1, "num_patches": 5, "max_abs_slots": 0.0, "max_abs_mass": 0.0,
        "routed_alike": 1.0, "share_of_tolerance": 0.1,
    }  # fmt: skip
    content = {
        "schema_version": 2, "format": "onnx", "models": {"full": model}, "feature_dim": 4,
        "num_slots": 3, "top_k": 2, "precision": {"input": "float32"},
        "patches": {"min": 1, "opt": 10, "max": None}, "max_batch": None, "encoder": "uni",
        "checkpoint_sha256": _SHA256, "tools": {"onnx": "1"},
        "parity": {"status": "passed", "tolerance": 1e-4, "reason": "x", "rows": [parity_row]},
    }  # fmt: skip
    return [pack({"artefact.json": _json(content), "model.onnx": _MODEL})]


def encoders() -> list[bytes]:
    """An exported encoder's description."""
    content = {
        "kind": "encoder", "format": "onnx", "file": "encoder.onnx", "sha256": _SHA256,
        "data_files": {}, "name": "uni", "weights_hash": "x", "feature_dim": 4, "input_px": 224,
        "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "trained_mpp": [0.5], "max_batch": None,
        "tolerance": 1e-3, "parity": [{"patches": "x", "batch": 1, "relative": 0.0}],
        "not_run": None, "tools": {"onnx": "1"}, "build": {},
    }  # fmt: skip
    return [pack({"encoder.json": _json(content), "encoder.onnx": _MODEL})]


def language_models() -> list[bytes]:
    """A run of train-vqa in stage 1."""
    content = {
        "schema_version": 1, "tcssa_version": "0", "stage": 1, "encoder": "uni",
        "num_visual_tokens": 3, "feature_dim": 4, "visual": {"kind": "mean", "feature_dim": 4},
        "template": _TEMPLATE, "image_token": "<image>", "system": None,
        "llm": {"id": "x", "sha256": "y", "dtype": "float32", "trust_remote_code": False},
        "files": {"projector.safetensors": _SHA256},
    }  # fmt: skip
    return [pack({"vqa.json": _json(content), "projector.safetensors": _MODEL})]


def metrics() -> list[bytes]:
    """The results of an evaluation."""
    names = named_task(None, ["a", "b"]).metrics
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    figures = {"num_slides": 4, "num_cases": 3, "confusion": [[1, 1], [1, 1]]}
    fold = {
        "fold": 0, "best_epoch": 1, "val_loss": 0.5, "effective_slots": None, "num_test_slides": 4,
        "test": dict.fromkeys(names, 0.5),
    }  # fmt: skip
    content = {
        "classes": ["a", "b"],
        "pooled": {**figures, **dict.fromkeys(names, score)},
        "over_folds": {name: {"mean": 0.5, "sd": None} for name in names},
        "folds": [fold],
    }
    return [pack({"metrics.json": _json(content)})]


def settings() -> list[bytes]:
    """Settings in YAML."""
    texts = (
        "train:\n  lr: 1.0e-4\n  epochs: 3\nmodel:\n  name: tcssa\n  classes: [a, 'b', \"c\"]\n",
        "a: &a {x: 1, y: null}\nb:\n  - *a\n  - |\n    text\n  - 2024-01-01\n",
        "",
    )
    return [text.encode() for text in texts]


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()
