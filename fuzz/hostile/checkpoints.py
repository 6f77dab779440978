"""Checkpoints whose facts and tensors contradict each other, or that name code."""

from __future__ import annotations

import argparse
import copy
import io
import json
import struct
from collections.abc import Iterator
from typing import Any

import torch

from fuzz.hostile.case import Case
from fuzz.seeds import checkpoints as seeds


def cases() -> Iterator[Case]:
    """Make all checkpoints of the corpus."""
    yield from _compressors()
    yield from _classifiers()
    yield from _references()


def _parts(content: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Take a safetensors file apart: its header, the facts in it, and its tensors."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["tcssa"]), content[8 + length :]


def _joined(header: dict[str, Any], facts: str, data: bytes) -> bytes:
    header = {**header, "__metadata__": {"tcssa": facts}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _with_fact(content: bytes, path: str, value: Any) -> bytes:
    """Give one fact another value."""
    header, facts, data = _parts(content)
    *steps, last = path.split(".")
    holder = facts
    for step in steps:
        holder = holder[step]
    holder[last] = value
    return _joined(header, json.dumps(facts), data)


def _compressors() -> Iterator[Case]:
    sound = seeds.compressor_files()[0]
    header, facts, data = _parts(sound)
    values = {
        "feature-dim-1e9": ("compressor.feature_dim", 10**9),
        "embedded-from-1e9": ("compressor.embedded_from", 10**9),
        "slots-1e9": ("compressor.num_slots", 10**9),
        "hidden-1e9": ("compressor.hidden_dim", 10**9),
        "top-k-of-more-slots": ("compressor.top_k", 99),
        "top-k-text": ("compressor.top_k", "x"),
        "top-k-infinite": ("compressor.top_k", float("inf")),
        "feature-dim-negative": ("compressor.feature_dim", -1),
        "no-compressor": ("compressor", None),
        "layout-of-later": ("layout", 99),
    }
    for name, (path, value) in values.items():
        heavy = name.endswith("1e9")
        yield Case("safetensors", name, _with_fact(sound, path, value), ended_process=heavy)
    texts = {"null": "null", "a-list": "[]", "no-json": "{", "nested": "[" * 2_000,
             "repeated": json.dumps(facts)[:-1] + ', "encoder": "other"}'}  # fmt: skip
    for name, text in texts.items():
        yield Case("safetensors", f"facts-{name}", _joined(header, text, data))
    first = next(name for name in header if name != "__metadata__")
    changes = {
        "shape-of-2-to-the-63": ("shape", [2**63, 2]),
        "shape-of-more": ("shape", [99, 99]),
        "offsets-beyond": ("data_offsets", [0, 10**9]),
        "offsets-reversed": ("data_offsets", [8, 0]),
        "dtype-unknown": ("dtype", "X9"),
    }
    for name, (key, value) in changes.items():
        changed = copy.deepcopy(header)
        changed[first][key] = value
        yield Case("safetensors", name, _joined(changed, json.dumps(facts), data))
    without = {name: value for name, value in header.items() if name != first}
    yield Case("safetensors", "a-tensor-less", _joined(without, json.dumps(facts), data))
    yield Case("safetensors", "header-of-2-to-the-63", struct.pack("<Q", 2**63) + sound[8:])
    yield Case("safetensors", "cut-in-its-tensors", sound[:-9])


def _classifiers() -> Iterator[Case]:
    whole, method, _ = seeds.classifier_files()
    facts: dict[str, tuple[bytes, str, Any]] = {
        "names-a-function": (method, "method.name", "os:kill"),
        "names-a-class": (method, "method.name", "subprocess:Popen"),
        "method-unknown": (method, "method.name", "other"),
        "method-null": (method, "method", None),
        "method-of-1e9-features": (method, "method.feature_dim", 10**9),
        "method-of-an-incomplete-task": (method, "method.task", {"kind": "ordinal"}),
        "method-of-survival": (method, "method.task", {"kind": "survival", "num_spans": 10**9}),
        "head-negative": (whole, "classifier.head_dim", -1),
        "head-of-1e9": (whole, "classifier.head_dim", 10**9),
        "classes-none": (whole, "classifier.classes", []),
        "embedding-of-1e9": (whole, "classifier.embedded_from", 10**9),
        "pool-unknown": (whole, "classifier.pool", "other"),
        "task-unknown": (whole, "classifier.task", {"kind": "x"}),
    }
    for name, (content, path, value) in facts.items():
        heavy = "1e9" in name or name in ("names-a-function", "names-a-class")
        yield Case("classifier", name, _with_fact(content, path, value), ended_process=heavy)


def _references() -> Iterator[Case]:
    state = seeds.reference_state("")
    gate = state["gate.weight"]
    states: dict[str, dict[Any, Any]] = {
        "gate-of-one-axis": {**state, "gate.weight": gate[0]},
        "gate-of-one-slot": {**state, "gate.weight": gate[:1]},
        "gate-of-more-slots": {**state, "gate.weight": gate.repeat(5, 1)},
        "gate-sparse": {**state, "gate.weight": gate.to_sparse()},
        "gate-complex": {**state, "gate.weight": gate.to(torch.complex64)},
        "gate-empty": {**state, "gate.weight": gate[:0], "gate.bias": gate[:0, 0]},
        "bias-of-two-axes": {**state, "gate.bias": gate},
        "hidden-of-one-axis": {**state, "experts.0.net.0.weight": gate[0]},
        "expert-gone": {k: v for k, v in state.items() if not k.startswith("experts.2")},
        "keys-of-numbers": {1: gate, 2: gate},
        "value-of-text": {**state, "gate.weight": "x"},
        "empty": {},
    }
    for name, changed in states.items():
        yield Case("pth", name, _saved(changed))
    whole = {"model_state_dict": seeds.reference_state("compressor.")}
    arguments: dict[str, Any] = {
        "top-k-infinite": {"top_k": float("inf")},
        "top-k-text": {"top_k": "x"},
        "top-k-negative": {"top_k": -1},
        "top-k-of-more-slots": argparse.Namespace(top_k=99),
        "a-number": 7,
    }
    for name, value in arguments.items():
        yield Case("pth", f"arguments-{name}", _saved({**whole, "args": value}))
    for name, data in {"of-one-letter": b"u", "of-one-dot": b".", "of-zeros": bytes(64)}.items():
        yield Case("pth", name, data)


def _saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()
