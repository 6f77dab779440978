"""Patches that are shown as they are: spread over the tissue, or of the highest learned score."""

import pytest
import torch
from factories import make_features
from torch import Tensor

from tcssa.errors import ShapeError
from tcssa.vqa.model.patch_selection import TopVisual, soft_top
from tcssa.vqa.model.visual_encoder import VisualConfig, VisualEncoder
from tcssa.vqa.model.visual_encoders import build_visual
from tcssa.vqa.settings import VisualKind

D = 16


def make_visual(kind: VisualKind, num_tokens: int) -> VisualEncoder:
    torch.manual_seed(1)
    config = VisualConfig(kind=kind, feature_dim=D, num_tokens=num_tokens, attention_dim=8)
    return build_visual(config).eval()


def grid(side: int) -> Tensor:
    return torch.cartesian_prod(torch.arange(side), torch.arange(side)).float()


def rows_of(tokens: Tensor, features: Tensor) -> list[int]:
    return [int((features == row).all(dim=1).nonzero()) for row in tokens]


def test_patches_are_spread_over_the_tissue() -> None:
    features, places = make_features(25), grid(5)
    tokens, _ = make_visual("spatial", 5)(features, "s", places)
    assert rows_of(tokens, features) == [0, 4, 12, 20, 24]  # the middle and the corners
    moved, _ = make_visual("spatial", 5)(features, "another name", places * 224 + 7)
    assert torch.equal(moved, tokens)  # neither unit nor name matters


def test_patches_that_share_a_place_are_all_shown_before_one_twice() -> None:
    features = make_features(6)
    tokens, _ = make_visual("spatial", 4)(features, "s", torch.zeros(6, 2))
    assert len(set(rows_of(tokens, features))) == 4


def test_places_are_asked_for() -> None:
    for places in (None, grid(2)):
        with pytest.raises(ShapeError, match="s: --visual spatial needs the place"):
            make_visual("spatial", 3)(make_features(6), "s", places)


def test_the_gates_of_a_soft_top_add_up_and_so_do_their_gradients() -> None:
    scores = (10 * torch.randn(50, generator=torch.Generator().manual_seed(0))).requires_grad_()
    for num_chosen in (1, 7, 49):
        gates = soft_top(scores, num_chosen).detach()
        assert float(gates.sum()) == pytest.approx(num_chosen, abs=1e-3)
        assert ((gates >= 0) & (gates <= 1)).all()
    soft = scores.detach().double() / 10
    assert torch.autograd.gradcheck(lambda s: soft_top(s, 7), soft.requires_grad_())


def test_the_best_patches_are_shown_as_they_are() -> None:
    visual, features = make_visual("topm", 4), make_features(30)
    assert isinstance(visual, TopVisual)
    scores = visual.scorer(features).squeeze(1)
    tokens, _ = visual(features, "s")
    assert rows_of(tokens, features) == sorted(scores.topk(4).indices.tolist())


def test_in_training_other_patches_have_a_chance_and_the_scorer_learns() -> None:
    visual, features = make_visual("topm", 4).train(), make_features(30)
    first, second = visual(features, "s")[0], visual(features, "s")[0]
    assert not torch.equal(first, second)
    first.square().sum().backward()
    assert all(bool(parameter.grad.any()) for parameter in visual.parameters())


def test_a_score_that_tells_is_learned() -> None:
    visual = make_visual("topm", 4).train()
    optimiser = torch.optim.Adam(visual.parameters(), lr=0.02)
    for step in range(150):
        features = make_features(40, seed=step)
        features[::10, 0] = 3.0  # four patches of forty carry what is asked for
        loss = (visual(features, "s")[0][:, 0] - 3.0).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    features = make_features(40, seed=999)
    features[::10, 0] = 3.0
    assert (visual.eval()(features, "s")[0][:, 0] == 3.0).sum() >= 3
