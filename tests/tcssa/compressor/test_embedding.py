"""A compressor that embeds its patches is the plain one on the embedded patches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from factories import make_compressor, make_features
from torch import Tensor

from tcssa import SlotCompressor, load_compressor
from tcssa.compressor import save_compressor
from tcssa.compressor.aggregation import CHUNK_PATCHES
from tcssa.errors import NonFiniteFeatureError, ShapeError

P, D = 20, 12


def make_embedded(**shape: bool) -> SlotCompressor:
    return make_compressor(feature_dim=D, num_slots=8, embedded_from=P, **shape)


def plain_of(model: SlotCompressor) -> SlotCompressor:
    """The same compressor without its embedding."""
    config = model.config.model_copy(update={"embedded_from": None})
    plain = SlotCompressor(config)
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if "embed." not in k})
    return plain.eval()


def by_hand(model: SlotCompressor, patches: Tensor) -> Tensor:
    assert model.embed is not None
    return (patches.float() @ model.embed.weight.T + model.embed.bias).clamp(min=0)


@torch.no_grad()
def test_it_is_the_plain_one_on_embedded_patches() -> None:
    model = make_embedded(salience=True, nested=True, spatial=True)
    bags = [make_features(n, feature_dim=P, seed=n) for n in (3, 0, 50)]
    places = [torch.rand(len(bag), 2) * 9e4 for bag in bags]
    found = model.compress(bags, budget=4, coords=places)
    expected = plain_of(model).compress([by_hand(model, bag) for bag in bags], 4, places)
    assert found.slots.shape == (3, 4, D)
    torch.testing.assert_close(found.slots, expected.slots)
    for mine, theirs in zip(found.assignments, expected.assignments, strict=True):
        assert torch.equal(mine, theirs)


@torch.no_grad()
def test_a_stream_adds_up_to_the_whole() -> None:
    model = make_embedded(salience=True)
    features = make_features(CHUNK_PATCHES + 100, feature_dim=P)
    state = model.start()
    for chunk in features.split(CHUNK_PATCHES):
        state = model.update(state, chunk, torch.zeros(len(chunk), 2))
    whole = model(features[None]).slots[0]
    assert torch.equal(model.finish(state), whole)
    with torch.enable_grad():  # in one piece
        torch.testing.assert_close(model(features[None]).slots[0], whole)


@torch.no_grad()
def test_a_batch_with_padding_and_halves_are_taken() -> None:
    model, features = make_embedded(), make_features(30, feature_dim=P)
    padded = torch.full((1, 40, P), torch.nan)
    padded[0, :30] = features
    output = model(padded, torch.arange(40)[None] < 30)
    assert torch.equal(output.slots, model(features[None]).slots)
    halves = features.half()
    assert torch.equal(model(halves[None]).slots, model(halves.float()[None]).slots)
    by_hand_in_float32 = by_hand(model, features)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.embedded(features), by_hand_in_float32)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_bad_patch_is_named_though_relu_would_hide_it(bad: float, sign: float) -> None:
    model = make_embedded()
    assert model.embed is not None
    torch.nn.init.constant_(model.embed.weight, sign)
    bags = [make_features(9, feature_dim=P), make_features(9, feature_dim=P)]
    bags[1][7, 3] = bad
    with pytest.raises(NonFiniteFeatureError) as caught:
        model.compress(bags)
    assert (caught.value.bag, caught.value.row) == (1, 7)


def test_large_finite_features_are_no_infinite_ones() -> None:
    model = make_embedded()
    assert model.embed is not None
    torch.nn.init.ones_(model.embed.weight)
    model.compress([torch.full((3, P), 1e38)])


def test_features_of_the_slots_length_are_refused() -> None:
    with pytest.raises(ShapeError, match=rf"features must be \[N, {P}\]"):
        make_embedded().compress([make_features(3, feature_dim=D)])


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    model, bag = make_embedded(), make_features(9, feature_dim=P)[None]
    save_compressor(model, tmp_path / "c.safetensors")
    loaded = load_compressor(tmp_path / "c.safetensors")
    assert loaded.config == model.config
    assert (loaded.config.patch_dim, loaded.config.feature_dim) == (P, D)
    assert torch.equal(loaded(bag).slots, model(bag).slots)
