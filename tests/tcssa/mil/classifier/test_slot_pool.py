"""Pools over slots against their formulas, and what a classifier with each of them keeps."""

from pathlib import Path

import pytest
import torch
from factories import make_compressor, make_features

from tcssa.compressor import load_compressor
from tcssa.mil.classifier.slide_classifier import ClassifierConfig, SlideClassifier
from tcssa.mil.classifier.slot_pool import build_pool

POOLS = ["mean", "mass", "attention", "max"]


def test_pools_follow_their_formulas() -> None:
    torch.manual_seed(0)
    slots, mass = torch.randn(2, 3, 5), torch.tensor([[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    assert torch.equal(build_pool("mean", 5)(slots, mass), slots.mean(dim=1))
    assert torch.equal(build_pool("max", 5)(slots, mass), slots.max(dim=1).values)
    weighted = build_pool("mass", 5)(slots, mass)
    torch.testing.assert_close(weighted[0], 0.25 * slots[0, 0] + 0.75 * slots[0, 2])
    assert torch.equal(weighted[1], torch.zeros(5))  # a bag without patches
    attend = build_pool("attention", 5)
    scores = []
    for slot in slots[0]:
        hidden = torch.tanh(attend.tanh(slot)) * torch.sigmoid(attend.gate(slot))
        scores.append(attend.score(hidden))
    shares = torch.cat(scores).softmax(dim=0)
    expected = sum(share * slot for share, slot in zip(shares, slots[0], strict=True))
    torch.testing.assert_close(attend(slots, mass)[0], expected)


@pytest.mark.parametrize("pool", POOLS)
def test_a_classifier_keeps_its_pool_and_a_bag_its_logits(pool: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = ClassifierConfig(classes=["x", "y"], head_dim=8, pool=pool)
    model = SlideClassifier(make_compressor(), config).eval()
    bags = [make_features(n, seed=n) for n in (30, 1, 7)]
    with torch.no_grad():
        logits = model(bags).logits
        alone = torch.cat([model([bag]).logits for bag in bags])
        torch.testing.assert_close(logits, alone, atol=1e-5, rtol=0)
        model.save(tmp_path / "c.safetensors")
        again = SlideClassifier.load(tmp_path / "c.safetensors")
        assert again.config.pool == pool
        assert torch.equal(again(bags).logits, logits)
    loaded = load_compressor(tmp_path / "c.safetensors")
    assert torch.equal(loaded.router.gate.weight, model.compressor.router.gate.weight)


def test_a_checkpoint_from_before_there_were_pools_has_the_paper_s() -> None:
    assert ClassifierConfig.model_validate({"classes": ["x"]}).pool == "mean"
