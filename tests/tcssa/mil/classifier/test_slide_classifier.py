"""The slide classifier, against the reference's logits and as a file."""

import json
from pathlib import Path

import pytest
import torch
from factories import make_compressor, make_features
from safetensors import safe_open
from safetensors.torch import load_file
from shared_data import GOLDEN, require_shared

from tcssa import load_compressor
from tcssa.compressor.checkpoint import read_tensors, write_tensors
from tcssa.errors import CheckpointError
from tcssa.mil.classifier.slide_classifier import ClassifierConfig, SlideClassifier
from tcssa_exporters import open_source


@pytest.mark.parametrize("name", GOLDEN)
def test_logits_are_the_references(name: str) -> None:
    golden = load_file(require_shared(f"golden/{name}.safetensors"))
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


def test_a_linear_head_is_one_product_of_the_pooled_slots(tmp_path: Path) -> None:
    config = ClassifierConfig(classes=["x", "y"], head_dim=0, pool="mass")
    model = SlideClassifier(make_compressor(salience=True), config).eval()
    assert {name for name in model.state_dict() if name.startswith("head.")} == {
        "head.out.weight",
        "head.out.bias",
    }
    bag = make_features(20)
    output = model.compressor(bag)
    pooled = output.mass @ output.slots / output.mass.sum()
    logits = model([bag]).logits
    by_hand = pooled @ model.head.out.weight.T + model.head.out.bias
    torch.testing.assert_close(logits[0], by_hand)
    model.save(tmp_path / "c.safetensors")
    assert torch.equal(SlideClassifier.load(tmp_path / "c.safetensors")([bag]).logits, logits)


def test_a_bag_is_classified_alike_alone_and_with_others() -> None:
    model = SlideClassifier(make_compressor(), ClassifierConfig(classes=["x", "y"])).eval()
    bags = [make_features(n, seed=n) for n in (3, 30, 1)]
    together = model(bags).logits
    for bag, logits in zip(bags, together, strict=True):
        assert torch.allclose(model([bag]).logits[0], logits, atol=1e-6)


def make_embedded() -> SlideClassifier:
    torch.manual_seed(3)
    config = ClassifierConfig(classes=["x", "y"], head_dim=8)
    return SlideClassifier(make_compressor(feature_dim=16, embedded_from=20), config).eval()


@torch.no_grad()
def test_an_embedding_stands_before_the_gate_and_is_kept(tmp_path: Path) -> None:
    model = make_embedded()
    bags = [make_features(n, feature_dim=20, seed=n) for n in (3, 30, 1)]
    logits = model(bags).logits
    embed = model.compressor.embed
    assert embed is not None
    by_hand = [(bag @ embed.weight.T + embed.bias).clamp(min=0) for bag in bags]
    plain = SlideClassifier(make_compressor(), ClassifierConfig(classes=["x", "y"], head_dim=8))
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if ".embed." not in k})
    torch.testing.assert_close(logits, plain.eval()(by_hand).logits)
    alone = torch.cat([model([bag]).logits for bag in bags])
    torch.testing.assert_close(logits, alone, atol=1e-6, rtol=1e-5)
    assert torch.equal(model([bags[1].half()]).logits, model([bags[1].half().float()]).logits)
    model.save(tmp_path / "c.safetensors")
    assert torch.equal(SlideClassifier.load(tmp_path / "c.safetensors")(bags).logits, logits)


def test_a_file_of_the_time_when_classifiers_embedded_is_read(tmp_path: Path) -> None:
    model, path = make_embedded(), tmp_path / "c.safetensors"
    model.save(path)
    tensors, facts = read_tensors(path)
    assert facts["compressor"].pop("embedded_from") == 20
    facts["classifier"]["embedded_from"] = 20
    facts["behind"] = "a learned embedding of the patches"
    old = {name.replace("compressor.embed.", "embed.0."): value for name, value in tensors.items()}
    assert "embed.0.weight" in old
    write_tensors(path, old, facts)
    bag = make_features(9, feature_dim=20)
    assert torch.equal(SlideClassifier.load(path)([bag]).logits, model([bag]).logits)
    slots = model.compressor(bag[None]).slots
    assert torch.equal(load_compressor(path)(bag[None]).slots, slots)
    assert torch.equal(open_source(path, "classifier").compressor(bag[None]).slots, slots)


def test_a_file_without_an_embedding_is_as_before_there_was_one(tmp_path: Path) -> None:
    config = ClassifierConfig(classes=["x", "y"], head_dim=8)
    SlideClassifier(make_compressor(), config).save(tmp_path / "c.safetensors")
    metadata = safe_open(tmp_path / "c.safetensors", "pt").metadata()
    facts = json.loads(metadata["tcssa"])
    assert "embedded_from" not in facts["compressor"]
    assert facts["classifier"]["embedded_from"] is None


def test_an_embedding_learns() -> None:
    model = make_embedded().train()
    output = model([make_features(9, feature_dim=20)])
    model.loss(output, torch.tensor([1])).backward()
    assert model.compressor.embed.weight.grad.abs().sum() > 0


def test_a_reference_state_without_a_head_is_refused() -> None:
    state = {"gate.weight": torch.zeros(2, 3), "gate.bias": torch.zeros(2)}
    with pytest.raises(CheckpointError):
        SlideClassifier.from_reference_state(state, classes=["a"])
