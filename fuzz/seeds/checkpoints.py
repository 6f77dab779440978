"""Checkpoints: compressors and classifiers of ours, and the reference's torch files."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fuzz.seeds.making import made
from tcssa import CompressorConfig, SlotCompressor
from tcssa.compressor import save_compressor
from tcssa.mil.classifier.classifiers import MethodFacts, save_classifier
from tcssa.mil.classifier.slide_classifier import ClassifierConfig, SlideClassifier
from tcssa.mil.methods import build_method

_DIM, _CLASSES = 4, ["a", "b"]


def compressor(seed: int = 0) -> SlotCompressor:
    """A compressor of a few hundred weights."""
    torch.manual_seed(seed)
    config = CompressorConfig(feature_dim=_DIM, num_slots=3, top_k=2, hidden_dim=2)
    return SlotCompressor(config).eval()


def compressor_files() -> list[bytes]:
    """Our compressors as safetensors."""
    model = compressor()
    return [made(lambda path: save_compressor(model, path, "uni"), ".safetensors")]


def classifier_files() -> list[bytes]:
    """Classifiers: TC-SSA's, and a method with facts of its own."""
    head = ClassifierConfig(classes=_CLASSES, head_dim=2, encoder="uni")
    whole = SlideClassifier(compressor(), head)
    facts = MethodFacts(name="mean", feature_dim=_DIM, classes=_CLASSES, encoder="uni")
    pooled = build_method("mean", _DIM, len(_CLASSES))
    ordinal = MethodFacts(
        name="mean",
        feature_dim=_DIM,
        classes=_CLASSES,
        encoder=None,
        task={"kind": "ordinal", "classes": ["1", "2", "3"]},
    )
    return [
        made(lambda path: save_classifier(whole, path, facts), ".safetensors"),
        made(lambda path: save_classifier(pooled, path, facts), ".safetensors"),
        made(lambda path: save_classifier(pooled, path, ordinal), ".safetensors"),
    ]


def reference_files() -> list[bytes]:
    """The reference's ``best_model.pth`` and ``moe_compressor.pt``."""
    whole = {
        "epoch": 7,
        "model_state_dict": reference_state("compressor."),
        "args": argparse.Namespace(lr=1e-4, top_k=2, out=Path("results")),
    }
    plain = {**whole, "args": {"top_k": 1}}
    return [_saved(whole), _saved(plain), _saved(reference_state("")), _saved(plain, is_new=False)]


def reference_state(prefix: str) -> dict[str, Tensor]:
    """A compressor's weights in the reference's spelling."""
    model = compressor()
    experts, gate = model.experts, model.router.gate
    state = {"gate.weight": gate.weight, "gate.bias": gate.bias}
    for k in range(model.config.num_slots):
        state |= {
            f"experts.{k}.net.0.weight": experts.w_in[k].T,
            f"experts.{k}.net.0.bias": experts.b_in[k, 0],
            f"experts.{k}.net.3.weight": experts.w_out[k].T,
            f"experts.{k}.net.3.bias": experts.b_out[k, 0],
            f"experts.{k}.net.4.weight": experts.norm_weight[k, 0],
            f"experts.{k}.net.4.bias": experts.norm_bias[k, 0],
        }
    return {prefix + name: value.detach().clone() for name, value in state.items()}


def _saved(content: Any, *, is_new: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=is_new)
    return stream.getvalue()
