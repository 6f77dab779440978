"""Classifiers by name: as files, and started from weights of others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_features
from torch import Tensor

from tcssa.compressor.checkpoint import read_tensors, write_tensors
from tcssa.errors import CheckpointError
from tcssa.mil.classifier.classifiers import (
    MethodFacts,
    build_classifier,
    load_classifier,
    save_classifier,
)
from tcssa.mil.methods import METHODS, BagClassifier
from tcssa.mil.settings import ModelSettings
from tcssa.mil.tasks import Classes

CLASSES = ["x", "y"]


def make(name: str, init: Path | None = None) -> BagClassifier:
    return build_classifier(
        ModelSettings(name=name, init=init), 16, Classes(tuple(CLASSES)), "enc"
    ).eval()


def facts(name: str) -> MethodFacts:
    return MethodFacts(name=name, feature_dim=16, classes=CLASSES, encoder="enc")


def logits(model: BagClassifier) -> Tensor:
    with torch.no_grad():
        return model([make_features(20)]).logits


@pytest.mark.parametrize("name", ["tcssa", *METHODS])
def test_a_saved_classifier_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = make(name)
    save_classifier(model, tmp_path / "checkpoint.safetensors", facts(name))
    loaded = load_classifier(tmp_path / "checkpoint.safetensors")
    assert type(loaded) is type(model)
    assert not loaded.training
    found = loaded.state_dict()
    assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())
    if name != "2dmamba":  # it needs to know where the patches lie
        assert torch.equal(logits(loaded), logits(model))


@pytest.mark.parametrize("name", ["tcssa", "clam_mb", "abmil"])
@pytest.mark.parametrize(
    "changed",
    [
        {"feature_dim": 10**9},
        {"feature_dim": 0},
        {"classes": ["x"]},
        {"classes": ["x"] * 300_000},
        {"classes": [str(number) for number in range(300_000)]},
        {"classes": "xy"},
        {"name": "none of ours"},
        {"head_dim": -1},
        {"embedded_from": 10**12},
        {"pool": "x"},
        {"task": {"kind": "survival", "num_spans": 10**12, "edges": []}},
        {"task": 1},
    ],
    ids=lambda changed: str(changed)[:40],
)
def test_facts_that_do_not_fit_the_tensors_are_one_error(
    name: str, changed: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_classifier(make(name), path, facts(name))
    tensors, noted = read_tensors(path)
    noted["classifier" if name == "tcssa" else "method"] |= changed
    write_tensors(path, tensors, noted)
    with pytest.raises(CheckpointError) as caught:
        load_classifier(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "state"),
    [
        (
            "clam_mb",
            {"classifiers.0.weight": torch.ones(1, 3), "classifiers.1.weight": torch.ones(2)},
        ),
        ("clam_mb", {f"classifiers.{'1' * 5_000}.weight": torch.ones(1, 3)}),
        ("transmil", {"cls_token": torch.tensor(1.0)}),
        ("dsmil", {"i_classifier.fc.0.weight": torch.ones(2, 3)}),
    ],
    ids=["shapes", "number", "token", "missing"],
)
def test_published_weights_of_other_shapes_are_one_error(
    name: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "published.pth")
    with pytest.raises(CheckpointError, match=r"published\.pth"):
        make(name, tmp_path / "published.pth")


@pytest.mark.parametrize("name", ["tcssa", "abmil"])
def test_it_starts_from_a_checkpoint_of_ours(name: str, tmp_path: Path) -> None:
    model = make(name)
    save_classifier(model, tmp_path / "checkpoint.safetensors", facts(name))
    torch.manual_seed(1)
    assert torch.equal(logits(make(name, tmp_path / "checkpoint.safetensors")), logits(model))


def test_it_starts_from_published_weights(tmp_path: Path) -> None:
    model = make("dsmil")
    published = {
        {"instance": "i_classifier.fc.0", "query": "b_classifier.q", "bag": "b_classifier.fcc"}[
            key.split(".")[0]
        ]
        + key[len(key.split(".")[0]) :]: value
        for key, value in model.state_dict().items()
    }
    torch.save(published, tmp_path / "published.pth")
    torch.manual_seed(1)
    assert torch.equal(logits(make("dsmil", tmp_path / "published.pth")), logits(model))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="do not fit the model"):
        make("dsmil", tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="published weights of 'abmil' are not known"):
        make("abmil", tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="no such file"):
        make("abmil", tmp_path / "nothing.pth")


def test_six_models_of_the_default_weigh_less_than_60_mb() -> None:
    model = build_classifier(ModelSettings(), 1280, Classes(("LUAD", "LUSC")), None)
    assert 6 * sum(value.nbytes for value in model.state_dict().values()) < 52e6
