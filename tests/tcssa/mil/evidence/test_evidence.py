"""Evidence of patches: what it sums to, and whether it finds planted patches."""

import numpy as np
import pytest
import torch
from factories import make_features, square
from torch import Tensor

from tcssa.compressor import CompressorConfig, SlotCompressor
from tcssa.compressor.router import salient
from tcssa.errors import NonFiniteFeatureError
from tcssa.mil.classifier.ensemble import Ensemble
from tcssa.mil.classifier.slide_classifier import ClassifierConfig, SlideClassifier
from tcssa.mil.evidence import evidence_of
from tcssa.mil.evidence.evidence import by_slot
from tcssa.mil.methods import METHODS, OneByOne, build_method
from tcssa.mil.tasks import Regression

DIM, CLASSES = 16, ["a", "b", "c"]
SHAPES = {
    "paper": {},
    "salience": {"salience": True},
    "nested": {"nested": True},
    "places": {"spatial": True},
    "one slot": {"top_k": 1, "num_slots": 8},
}


def make_tcssa(pool: str = "mass", head_dim: int = 8, **shape: object) -> SlideClassifier:
    torch.manual_seed(0)
    config = {"feature_dim": DIM, "num_slots": 4, "hidden_dim": 8, **shape}
    head = ClassifierConfig.model_validate({"classes": CLASSES, "head_dim": head_dim, "pool": pool})
    model = SlideClassifier(SlotCompressor(CompressorConfig.model_validate(config)), head).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # nothing is at a value of fresh weights, such as 0
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def logits_of(model: torch.nn.Module, bag: Tensor) -> np.ndarray:
    coords = [square(len(bag))] if model.reads_coords else []
    with torch.no_grad():
        return model([bag], None, *([coords] if coords else [])).logits[0].double().numpy()


@pytest.mark.parametrize("pool", ["mean", "mass", "attention", "max"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 30])
def test_parts_of_tcssa_sum_to_its_logits(pool: str, shape: str, count: int) -> None:
    model, bag = make_tcssa(pool, **SHAPES[shape]), make_features(count)
    found = evidence_of(model, bag, square(count))
    np.testing.assert_allclose(found.parts.sum(axis=0), logits_of(model, bag), atol=1e-4)
    assert found.attention is not None
    assert found.attention.sum() == pytest.approx(1, abs=1e-5)
    assert found.adds_up


def test_parts_sum_behind_an_embedding_with_a_budget_and_a_linear_head() -> None:
    bag = make_features(30)
    for model in (
        make_tcssa(feature_dim=8, embedded_from=DIM, head_dim=0),
        make_tcssa(feature_dim=8, embedded_from=DIM),
        make_tcssa(nested=True, num_slots=16),
    ):
        model.budget = 8 if model.compressor.config.nested else None
        found = evidence_of(model, bag)
        np.testing.assert_allclose(found.parts.sum(axis=0), logits_of(model, bag), atol=1e-4)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"transmil"}))
@pytest.mark.parametrize("count", [1, 30])
def test_parts_of_attention_methods_sum_to_their_logits(name: str, count: int) -> None:
    torch.manual_seed(0)
    model, bag = build_method(name, DIM, 3).eval(), make_features(count)
    found = evidence_of(model, bag, square(count))
    assert found.scheme == "exact"
    np.testing.assert_allclose(found.parts.sum(axis=0), logits_of(model, bag), atol=1e-4)
    assert found.attention is not None
    assert found.attention.sum() == pytest.approx(1, abs=1e-5)


def test_a_patch_has_its_own_evidence_wherever_it_stands() -> None:
    model, bag = make_tcssa(), make_features(30)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    found, shuffled = evidence_of(model, bag), evidence_of(model, bag[order])
    np.testing.assert_allclose(shuffled.parts, found.parts[order.numpy()], atol=1e-5)
    assert found.attention is not None
    per_weight = found.parts / found.attention[:, None]
    assert per_weight.std(axis=0).min() > 0.1, "evidence is more than a share by weight"


def test_evidence_of_numbers_is_on_the_scale_of_the_ensemble() -> None:
    members = [build_method("abmil", DIM, 1).eval() for _ in range(2)]
    for member, scale in zip(members, [(10.0, 2.0), (50.0, 8.0)], strict=True):
        member.task = Regression(mean=scale[0], sd=scale[1])
    model, bag = Ensemble(members).eval(), make_features(20)
    found = evidence_of(model, bag)
    np.testing.assert_allclose(found.parts.sum(axis=0), logits_of(model, bag), atol=1e-4)
    each = [member.task.values(torch.tensor(logits_of(member, bag)))[0] for member in members]
    assert model.task.values(torch.tensor(found.logits)) == pytest.approx(
        (np.mean(each),), rel=1e-5
    )


def test_evidence_of_an_ensemble_is_the_mean_of_its_members() -> None:
    bag, members = make_features(30), [make_tcssa("mean"), make_tcssa("mass")]
    found = evidence_of(Ensemble(members).eval(), bag)
    each = [evidence_of(member, bag).parts for member in members]
    np.testing.assert_allclose(found.parts, (each[0] + each[1]) / 2, atol=1e-12)
    np.testing.assert_allclose(
        found.parts.sum(axis=0), logits_of(Ensemble(members), bag), atol=1e-4
    )


class Votes(OneByOne):
    """A user's own method: the sum of what single patches say."""

    def classify(self, bag: Tensor) -> Tensor:
        return bag[:, :3].sum(dim=0)


@pytest.mark.parametrize("count", [1, 40, 300])
def test_any_other_method_is_occluded(count: int) -> None:
    bag = make_features(count)
    found = evidence_of(Votes(), bag, square(count))
    assert found.scheme == "occlusion"
    assert not found.adds_up
    if count <= 128:
        np.testing.assert_allclose(found.parts, bag[:, :3].numpy(), atol=1e-3)
    # of a method that adds up, blocks do too
    np.testing.assert_allclose(found.parts.sum(axis=0), found.logits, atol=1e-2)


def test_transmil_is_occluded_and_sees_what_it_loses() -> None:
    torch.manual_seed(0)
    found = evidence_of(build_method("transmil", DIM, 3).eval(), make_features(5))
    assert found.scheme == "occlusion"
    assert (np.abs(found.parts).max(axis=1) > 0).all()


def test_a_patch_that_is_not_finite_is_named() -> None:
    bag = make_features(5)
    bag[3, 1] = torch.nan
    with pytest.raises(NonFiniteFeatureError, match="row 3"):
        evidence_of(make_tcssa(), bag)


@pytest.mark.parametrize("shape", SHAPES)
def test_evidence_from_slots_alone_sums_to_the_logits_slot_by_slot(shape: str) -> None:
    model, bag = make_tcssa("attention", **SHAPES[shape]), make_features(30)
    coords = square(len(bag))
    (whole,) = model.compressor.aggregate([bag], [coords])
    weights = salient(whole.weights, whole.salience)
    found = by_slot(model, whole.state, whole.assignments, weights)
    own = evidence_of(model, bag, coords)
    np.testing.assert_allclose(found.logits, own.logits, atol=1e-4)
    np.testing.assert_allclose(found.parts.sum(axis=0), own.logits, atol=1e-4)
    assert own.attention is not None
    np.testing.assert_allclose(found.attention, own.attention, rtol=1e-4)
    if shape == "one slot":
        for slot in range(8):
            of_slot = (whole.assignments[:, 0] == slot).numpy()
            together = own.parts[of_slot].sum(axis=0)
            np.testing.assert_allclose(found.parts[of_slot].sum(axis=0), together, atol=1e-4)
