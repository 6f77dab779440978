"""What every method promises."""

import pytest
import torch
from factories import make_features, square
from torch import Tensor, nn

from tcssa.errors import UnknownNameError, UsageError
from tcssa.mil.methods import (
    METHODS,
    BagClassifier,
    BagsLogits,
    OneByOne,
    PlacedClassifier,
    build_method,
)
from tcssa.mil.methods.abmilx import ABMILX
from tcssa.mil.methods.clam import CLAM
from tcssa.mil.methods.pooling import ABMIL

SIZES = (1, 2, 7, 50)
ORDERLESS = sorted(set(METHODS) - {"transmil", "rrt", "2dmamba"})
"""TransMIL and RRT-MIL read a bag as an image, so the order of its patches is theirs to use; of
2DMamba patches change order with their places (test_mamba2d.py)."""


@pytest.fixture(params=sorted(METHODS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(name: str) -> BagClassifier:
    torch.manual_seed(0)
    return build_method(name, 16, 3).eval()


def call(model: BagClassifier, bags: list[Tensor], labels: Tensor | None = None) -> BagsLogits:
    """Classify bags; patches lie row by row in a square where a method asks for it."""
    if not isinstance(model, PlacedClassifier):
        return model(bags, labels)
    return model(bags, labels, [square(len(bag)) for bag in bags])


@torch.no_grad()
def test_a_bag_s_logits_are_the_same_alone_and_with_others(name: str) -> None:
    model = make(name)
    bags = [make_features(n, seed=n) for n in SIZES]
    together = call(model, bags).logits
    assert together.shape == (len(SIZES), 3)
    for bag, logits in zip(bags, together, strict=True):
        torch.testing.assert_close(call(model, [bag]).logits[0], logits, atol=1e-6, rtol=1e-5)
        assert torch.isfinite(logits).all()


@torch.no_grad()
@pytest.mark.parametrize("name", ORDERLESS)
def test_the_order_of_patches_does_not_matter(name: str) -> None:
    model, bag = make(name), make_features(50)
    shuffled = bag[torch.randperm(50, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(model([bag]).logits, model([shuffled]).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [1, 3, 50])
def test_every_weight_learns(name: str, size: int) -> None:
    model = make(name).train()
    bags, labels = [make_features(size), make_features(50, seed=1)], torch.tensor([0, 2])
    loss = model.loss(call(model, bags, labels), labels)
    loss.backward()
    assert torch.isfinite(loss)
    missing = [key for key, weight in model.named_parameters() if weight.grad is None]
    assert missing == []
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


@torch.no_grad()
def test_half_precision_features_are_taken(name: str) -> None:
    model, bag = make(name), make_features(20).half()
    assert torch.equal(call(model, [bag]).logits, call(model, [bag.float()]).logits)


@torch.no_grad()
def test_abmil_is_the_formula_of_the_paper() -> None:
    model, bag = ABMIL(16, 3, embed_dim=8, attention_dim=4).eval(), make_features(30)
    hidden = (bag @ model.embed[0].weight.T + model.embed[0].bias).clamp(min=0)
    attention = model.attention
    value = torch.tanh(hidden @ attention.value.weight.T + attention.value.bias)
    gate = 1 / (1 + torch.exp(-(hidden @ attention.gate.weight.T + attention.gate.bias)))
    scores = (value * gate) @ attention.score.weight[0] + attention.score.bias
    weights = torch.exp(scores) / torch.exp(scores).sum()
    expected = (weights[:, None] * hidden).sum(dim=0) @ model.out.weight.T + model.out.bias
    torch.testing.assert_close(model([bag]).logits[0], expected)


@torch.no_grad()
def test_abmilx_in_parts_is_abmilx_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, bag = ABMILX(16, 3).eval(), make_features(50)
    whole = model([bag]).logits
    monkeypatch.setattr("tcssa.mil.methods.abmilx._QUERY_ROWS", 7)
    torch.testing.assert_close(model([bag]).logits, whole)


def test_clam_takes_its_instances_from_both_ends_of_the_attention() -> None:
    model = CLAM(16, 2, multi_branch=False, num_samples=2, subtyping=False).eval()
    scores, hidden = torch.tensor([[3.0, 0.0, 2.0, 1.0]]), torch.randn(4, 512)
    classifier = model.instance[1]
    expected = nn.functional.cross_entropy(
        classifier(hidden[[0, 2, 1, 3]]), torch.tensor([1, 1, 0, 0])
    )
    torch.testing.assert_close(model.instance_loss(scores, hidden, label=1), expected)


class MyMethod(OneByOne):
    """A user's own."""

    def __init__(self, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(feature_dim, num_classes)

    def classify(self, bag: Tensor) -> Tensor:
        return self.out(bag.mean(dim=0))


def test_a_user_s_method_is_taken_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("my_methods")
    module.make, module.wrong = MyMethod, nn.Linear
    monkeypatch.setitem(sys.modules, "my_methods", module)
    assert isinstance(build_method("my_methods:make", 16, 3), MyMethod)
    with pytest.raises(UsageError, match="returned a Linear, which is no BagClassifier"):
        build_method("my_methods:wrong", 16, 3)
    with pytest.raises(UsageError, match="cannot be imported"):
        build_method("my_methods:nothing", 16, 3)


def test_an_unknown_name_is_met_with_near_ones() -> None:
    with pytest.raises(UnknownNameError) as caught:
        build_method("transmill", 16, 3)
    assert caught.value.hint is not None
    assert "transmil" in caught.value.hint
