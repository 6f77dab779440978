"""Classifiers by name: as files, and started from weights of others."""

from pathlib import Path

import pytest
import torch
from factories import make_features
from torch import Tensor

from tcssa.errors import CheckpointError
from tcssa.mil.classifiers import (
    MethodFacts,
    build_classifier,
    load_classifier,
    save_classifier,
)
from tcssa.mil.methods import BagClassifier
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


@pytest.mark.parametrize("name", ["tcssa", "dsmil", "rrt"])
def test_a_saved_classifier_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = make(name)
    save_classifier(model, tmp_path / "checkpoint.safetensors", facts(name))
    loaded = load_classifier(tmp_path / "checkpoint.safetensors")
    assert type(loaded) is type(model)
    assert not loaded.training
    assert torch.equal(logits(loaded), logits(model))


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
