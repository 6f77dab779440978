"""The slide classifier, against the reference's logits and as a file."""

from pathlib import Path

import pytest
import torch
from factories import make_compressor, make_features
from safetensors.torch import load_file
from shared_data import shared

from tcssa import load_compressor
from tcssa.errors import CheckpointError
from tcssa.mil.model import ClassifierConfig, SlideClassifier

GOLDEN = sorted(shared("golden").glob("*.safetensors"))


@pytest.mark.skipif(not GOLDEN, reason="../shared/golden is not here")
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_logits_are_the_references(path: Path) -> None:
    golden = load_file(path)
    state = {k.removeprefix("state."): v for k, v in golden.items() if k.startswith("state.")}
    model = SlideClassifier.from_reference_state(state, classes=["a", "b", "c"])
    features = golden["features"]
    with torch.no_grad():
        logits = model(list(features)).logits
    expected = golden["eval.logits"]
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_saved_classifier_comes_back_and_gives_its_compressor(tmp_path: Path) -> None:
    config = ClassifierConfig(classes=["x", "y"], head_dim=8, encoder="enc")
    model = SlideClassifier(make_compressor(), config).eval()
    model.save(tmp_path / "checkpoint.safetensors")
    loaded = SlideClassifier.load(tmp_path / "checkpoint.safetensors")
    bag = make_features(20)
    assert loaded.config == config
    assert torch.equal(loaded([bag]).logits, model([bag]).logits)
    compressor = load_compressor(tmp_path / "checkpoint.safetensors")
    assert torch.equal(compressor(bag[None]).slots, model.compressor(bag[None]).slots)


def test_a_bag_is_classified_alike_alone_and_with_others() -> None:
    model = SlideClassifier(make_compressor(), ClassifierConfig(classes=["x", "y"])).eval()
    bags = [make_features(n, seed=n) for n in (3, 30, 1)]
    together = model(bags).logits
    for bag, logits in zip(bags, together, strict=True):
        assert torch.allclose(model([bag]).logits[0], logits, atol=1e-6)


def test_a_reference_state_without_a_head_is_refused() -> None:
    state = {"gate.weight": torch.zeros(2, 3), "gate.bias": torch.zeros(2)}
    with pytest.raises(CheckpointError):
        SlideClassifier.from_reference_state(state, classes=["a"])
