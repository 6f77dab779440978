"""What of a slide is shown: slots, and the baselines beside them."""

from typing import get_args

import pytest
import torch
from factories import make_compressor, make_features
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tcssa.errors import ShapeError, TooManyPatchesError, UsageError
from tcssa.vqa.model.visual_encoder import VisualConfig, VisualEncoder
from tcssa.vqa.model.visual_encoders import build_visual
from tcssa.vqa.settings import VisualKind

D = 16
KINDS: tuple[VisualKind, ...] = get_args(VisualKind)


def make_visual(kind: VisualKind, num_tokens: int = 5, max_patches: int = 100) -> VisualEncoder:
    """A visual encoder with random weights, in evaluation mode."""
    torch.manual_seed(1)
    config = VisualConfig(
        kind=kind, feature_dim=D, num_tokens=num_tokens, max_patches=max_patches, attention_dim=8
    )
    return build_visual(config, make_compressor() if kind == "tcssa" else None).eval()


def tokens_of(visual: VisualEncoder, features: Tensor, slide_id: str = "s") -> Tensor:
    places = torch.arange(len(features) * 2.0).reshape(-1, 2) if visual.reads_coords else None
    tokens, aux_loss = visual(features, slide_id, places)
    assert aux_loss is None
    assert tokens.dtype == torch.float32
    assert tokens.shape == (visual.num_tokens(len(features)), D)
    return torch.as_tensor(tokens)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_patches", [1, 3, 30])
def test_every_kind_makes_as_many_tokens_as_it_says_and_the_same_each_time(
    kind: VisualKind, num_patches: int
) -> None:
    visual, features = make_visual(kind), make_features(num_patches)
    assert torch.equal(tokens_of(visual, features), tokens_of(visual, features))
    assert tokens_of(visual, features).isfinite().all()
    half = tokens_of(visual, features.half())
    assert torch.allclose(half, tokens_of(visual, features.half().float()), atol=1e-6)


def test_slots_are_the_compressors() -> None:
    features, compressor = make_features(30), make_compressor()
    visual = make_visual("tcssa")
    assert torch.equal(tokens_of(visual, features), compressor.compress([features]).slots[0])


def test_a_sample_is_real_patches_in_their_order_and_another_one_of_another_slide() -> None:
    visual, features = make_visual("sample", num_tokens=5), make_features(40)
    chosen = [
        [int((features == row).all(dim=1).nonzero()) for row in tokens_of(visual, features, name)]
        for name in ("a", "b", "a")
    ]
    assert chosen[0] == chosen[2] == sorted(set(chosen[0]))
    assert chosen[0] != chosen[1]
    torch.manual_seed(7)  # nor does it touch, or depend on, the global generator
    assert torch.equal(tokens_of(visual, features, "a"), features[chosen[0]])


def test_a_sample_of_a_small_slide_is_all_of_it() -> None:
    features = make_features(3)
    assert torch.equal(tokens_of(make_visual("sample", num_tokens=5), features), features)


def test_the_sample_covers_all_patches_over_many_slides() -> None:
    visual, features = make_visual("sample", num_tokens=4), make_features(20)
    seen = torch.cat([tokens_of(visual, features, f"slide {i}") for i in range(60)])
    assert len(seen.unique(dim=0)) == 20


@settings(max_examples=25)
@given(st.integers(2, 60), st.integers(0, 5))
def test_attention_pools_within_the_slide_in_any_order(num_patches: int, seed: int) -> None:
    visual, features = make_visual("abmil"), make_features(num_patches, seed=seed)
    pooled = tokens_of(visual, features)
    order = torch.randperm(num_patches, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(pooled, tokens_of(visual, features[order]), atol=1e-5)
    assert (pooled >= features.min(dim=0).values - 1e-5).all()
    assert (pooled <= features.max(dim=0).values + 1e-5).all()


def test_attention_is_learned_and_the_mean_is_the_mean() -> None:
    features = make_features(30)
    mean = tokens_of(make_visual("mean"), features)
    assert torch.allclose(mean[0], features.mean(dim=0))
    abmil = make_visual("abmil")
    assert not torch.allclose(tokens_of(abmil, features), mean, atol=1e-3)
    abmil(features, "s")[0].sum().backward()
    assert all(parameter.grad is not None for parameter in abmil.parameters())


def test_full_shows_every_patch_up_to_its_limit() -> None:
    visual = make_visual("full", max_patches=30)
    assert torch.equal(tokens_of(visual, make_features(30)), make_features(30))
    for too_many in (visual.num_tokens, lambda n: visual(make_features(n), "s")):
        with pytest.raises(TooManyPatchesError, match="31 patches, at most 30 are shown"):
            too_many(31)


def test_the_balance_loss_is_there_in_training_only() -> None:
    visual = make_visual("tcssa").train()
    _, aux_loss = visual(make_features(10), "s")
    assert aux_loss is not None
    assert aux_loss.requires_grad


@pytest.mark.parametrize(
    "features", [torch.zeros(3, D + 1), torch.zeros(D), torch.zeros(0, D), torch.zeros(3, D).long()]
)
def test_other_shapes_are_refused_with_the_slides_name(features: Tensor) -> None:
    with pytest.raises(ShapeError, match="slide-7: "):
        make_visual("mean")(features, "slide-7")


def test_what_decides_the_output_is_described_and_nothing_else() -> None:
    descriptions = {make_visual(kind).describe() for kind in KINDS}
    assert len(descriptions) == len(KINDS)
    assert make_visual("sample", num_tokens=4).describe() != make_visual("sample").describe()
    assert make_visual("mean", num_tokens=4).describe() == make_visual("mean").describe()
    assert "embedded_from" not in make_visual("tcssa").describe()  # older caches remain in use


@pytest.mark.parametrize(
    ("config", "with_compressor", "reason"),
    [
        (VisualConfig(kind="tcssa"), False, "needs a compressor"),
        (VisualConfig(kind="mean", feature_dim=D), True, "takes no compressor"),
        (VisualConfig(kind="mean"), False, "needs the length D"),
        (VisualConfig(kind="tcssa", feature_dim=D + 1), True, "D = 16, not 17"),
    ],
)
def test_an_encoder_that_cannot_be_is_refused(
    config: VisualConfig, with_compressor: bool, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        build_visual(config, make_compressor() if with_compressor else None)


def test_a_nested_compressor_shows_as_few_slots_as_it_is_told() -> None:
    compressor = make_compressor(num_slots=8, nested=True)
    visual = build_visual(VisualConfig(kind="tcssa", budget=4), compressor).eval()
    features = make_features(30)
    assert torch.equal(tokens_of(visual, features), compressor.compress([features], 4).slots[0])
    of_all = build_visual(VisualConfig(kind="tcssa"), compressor).eval()
    assert of_all.num_tokens(30) == 8
    assert visual.describe() != of_all.describe()  # slots of both may lie in one cache
    with pytest.raises(UsageError, match="gives 4, 8 slots a slide, not 5"):
        build_visual(VisualConfig(kind="tcssa", budget=5), compressor)
    with pytest.raises(UsageError, match="gives 8 slots a slide, not 4"):
        build_visual(VisualConfig(kind="tcssa", budget=4), make_compressor(num_slots=8))
