"""Compressors from disk: ours, the reference's, and files that mean harm."""

import argparse
import math
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from factories import make_compressor, make_features, reference_state

from tcssa import SlotCompressor, load_compressor
from tcssa.compressor import compressor_from_reference, save_compressor
from tcssa.compressor.checkpoint import load_strictly, read_tensors, write_tensors
from tcssa.errors import CheckpointError


def assert_same(loaded: SlotCompressor, model: SlotCompressor) -> None:
    bag = make_features(30)[None]
    assert torch.equal(loaded(bag).slots, model(bag).slots)
    assert not loaded.training


def test_our_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model = make_compressor()
    save_compressor(model, tmp_path / "compressor.safetensors")
    loaded = load_compressor(tmp_path / "compressor.safetensors")
    assert loaded.config == model.config
    assert_same(loaded, model)


def test_reference_best_model_with_numpy_scalars_and_arguments(tmp_path: Path) -> None:
    model = make_compressor()
    content = {
        "epoch": 7,
        "model_state_dict": {
            **reference_state(model, "compressor."),
            "classifier.0.weight": torch.ones(16),
        },
        "optimizer_state_dict": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": []},
        "train_metrics": {"loss": np.float64(0.25), "auc": np.float32(0.9), "n": np.int64(3)},
        "val_metrics": {"auc": np.float64(0.9), "better": np.bool_(True)},
        "args": argparse.Namespace(lr=1e-4, out=Path("results")),
    }
    torch.save(content, tmp_path / "best_model.pth")
    assert_same(load_compressor(tmp_path / "best_model.pth"), model)


def test_reference_moe_compressor_has_no_prefix(tmp_path: Path) -> None:
    model = make_compressor()
    torch.save(reference_state(model, ""), tmp_path / "moe_compressor.pt")
    assert_same(load_compressor(tmp_path / "moe_compressor.pt"), model)


class Hostile:
    """Unpickling this makes a file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "bare pickle"])
def test_no_code_in_a_checkpoint_runs(tmp_path: Path, legacy: bool) -> None:
    witness, path = tmp_path / "ran", tmp_path / "best_model.pth"
    content = {"model_state_dict": {"gate.weight": Hostile(witness)}}
    if legacy:
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match="nothing in it was run") as caught:
        load_compressor(path)
    assert legacy or "posix.system" in str(caught.value)
    assert not witness.exists()


def test_broken_and_foreign_files_say_what_they_are(tmp_path: Path) -> None:
    save_compressor(make_compressor(), tmp_path / "whole.safetensors")
    content = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.pth").write_text("not a checkpoint")
    (tmp_path / "empty.pth").touch()
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"weight": torch.ones(99)}, tmp_path / "cut.pth")
    cut = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(cut[: len(cut) // 2])
    expected = {
        "missing.pth": "no such file",
        "cut.safetensors": "cannot be read",
        "text.pth": "is not a",
        "empty.pth": "is not a",
        "other.pth": "no TC-SSA compressor",
        "list.pth": "no state dict",
        "cut.pth": "is not a",
    }
    for name, message in expected.items():
        with pytest.raises(CheckpointError, match=message) as caught:
            load_compressor(tmp_path / name)
        assert name in str(caught.value)


def test_top_k_comes_from_the_reference_arguments(tmp_path: Path) -> None:
    state = reference_state(make_compressor(), "compressor.")
    content = {"model_state_dict": state, "args": {"top_k": 1}}
    torch.save(content, tmp_path / "best_model.pth")
    assert load_compressor(tmp_path / "best_model.pth").config.top_k == 1


def test_another_layout_of_tensors_is_refused_not_misread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tcssa.compressor.checkpoint._LAYOUT_VERSION", 99)
        save_compressor(make_compressor(), tmp_path / "later.safetensors")
    with pytest.raises(CheckpointError, match="tensor layout 99, this tcssa reads 1"):
        load_compressor(tmp_path / "later.safetensors")


def test_a_missing_expert_is_named(tmp_path: Path) -> None:
    state = reference_state(make_compressor(), "")
    del state["experts.3.net.0.weight"]
    with pytest.raises(CheckpointError, match=r"experts\.3\.net\.0\.weight"):
        compressor_from_reference(state)


def test_an_archive_of_something_else_is_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "slides.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"slides\.pt"):
        load_compressor(tmp_path / "slides.pt")


def reference(**changed: Any) -> dict[str, Any]:
    """The content of a reference checkpoint, with other tensors in it."""
    state: dict[Any, Any] = reference_state(make_compressor(), "compressor.")
    state |= {f"compressor.{name}": value for name, value in changed.items()}
    return {"model_state_dict": state, "args": {"top_k": 2}}


FIRST = "experts.0.net.0.weight"
HARMFUL_REFERENCES: dict[str, Callable[[], Any]] = {
    "gate 1-d": lambda: reference(**{"gate.weight": torch.ones(6)}),
    "gate 0-d": lambda: reference(**{"gate.weight": torch.tensor(1.0)}),
    "gate of no slots": lambda: reference(**{"gate.weight": torch.ones(0, 16)}),
    "gate of one slot": lambda: reference(**{"gate.weight": torch.ones(1, 16)}),
    "gate of other slots": lambda: reference(**{"gate.weight": torch.ones(4, 16)}),
    "gate sparse": lambda: reference(**{"gate.weight": torch.ones(6, 16).to_sparse()}),
    "gate no tensor": lambda: reference(**{"gate.weight": "x"}),
    "bias 2-d": lambda: reference(**{"gate.bias": torch.ones(6, 2)}),
    "expert 1-d": lambda: reference(**{FIRST: torch.ones(8)}),
    "expert of another width": lambda: reference(**{FIRST: torch.ones(9, 16)}),
    "all experts 1-d": lambda: reference(
        **{f"experts.{k}.net.0.weight": torch.ones(8) for k in range(6)}
    ),
    "gate far larger than its tensor": lambda: reference(
        **{"gate.weight": torch.ones(1).expand(6, 10**9)}
    ),
    "whole numbers as keys": lambda: {1: torch.ones(2)},
    "args a number": lambda: {**reference(), "args": 3},
    "args a list": lambda: {**reference(), "args": ["top_k"]},
    **{
        f"top_k {value}": lambda value=value: {**reference(), "args": {"top_k": value}}
        for value in ("x", math.inf, math.nan, 0, -1, 7, 2.0, [2], True)
    },
    "top_k of 5,001 digits": lambda: {**reference(), "args": {"top_k": 10**5000}},
    "top_k far below 0": lambda: {**reference(), "args": {"top_k": -(10**5000)}},
}


@pytest.mark.parametrize("make", HARMFUL_REFERENCES.values(), ids=HARMFUL_REFERENCES)
def test_a_reference_checkpoint_of_other_shapes_is_one_error(
    tmp_path: Path, make: Callable[[], Any]
) -> None:
    path = tmp_path / "best_model.pth"
    torch.save(make(), path)
    with pytest.raises(CheckpointError) as caught:
        load_compressor(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"feature_dim": 10**9},
        {"feature_dim": 10**30},
        {"feature_dim": 17},
        {"feature_dim": -1},
        {"feature_dim": "x"},
        {"hidden_dim": 10**9},
        {"num_slots": 10**12},
        {"num_slots": 1},
        {"top_k": 7},
        {"top_k": math.nan},
        {"dropout": 1.0},
        {"noise_std": math.inf},
        {"more": 1},
    ],
    ids=str,
)
def test_a_configuration_that_its_tensors_do_not_fit_takes_no_memory(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    path = tmp_path / "c.safetensors"
    save_compressor(make_compressor(), path)
    tensors, facts = read_tensors(path)
    facts["compressor"] |= changed
    write_tensors(path, tensors, facts)
    with pytest.raises(CheckpointError) as caught:
        load_compressor(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("facts", [{}, {"compressor": None}, {"compressor": [1]}, {"layout": {}}])
def test_facts_without_a_configuration_are_refused(tmp_path: Path, facts: dict[str, Any]) -> None:
    path = tmp_path / "c.safetensors"
    write_tensors(path, {"compressor.router.gate.weight": torch.ones(6, 16)}, facts)
    with pytest.raises(CheckpointError, match=r"c\.safetensors"):
        load_compressor(path)


def test_a_model_is_not_built_before_its_tensors_fit(tmp_path: Path) -> None:
    built: list[str] = []

    def build() -> torch.nn.Module:
        model = torch.nn.Linear(3, 2)
        built.append(model.weight.device.type)
        return model

    state = {"weight": torch.ones(2, 4), "bias": torch.ones(2)}
    with pytest.raises(CheckpointError, match=r"the first is weight \(found \[2, 4\], expected"):
        load_strictly(build, state, tmp_path / "w.safetensors")
    assert built == ["meta"]
    state["weight"] = torch.ones(2, 3)
    assert torch.equal(load_strictly(build, state, tmp_path).weight, torch.ones(2, 3))
    assert built == ["meta", "meta", "cpu"]
