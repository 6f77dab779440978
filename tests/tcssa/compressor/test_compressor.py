"""What must hold of the compressor whatever goes in."""

import itertools

import numpy as np
import pytest
import torch
from factories import make_compressor, make_features
from hypothesis import given, settings
from hypothesis import strategies as st

from tcssa import CompressorConfig, SlotCompressor
from tcssa.errors import NonFiniteFeatureError, ShapeError

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=4)
SEEDS = st.integers(0, 2**16)


def close(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.allclose(actual, expected, rtol=1e-4, atol=2e-5)


@given(lengths=LENGTHS, seed=SEEDS, garbage=st.sampled_from([0.0, 1e30, float("nan")]))
@settings(max_examples=40)
@torch.no_grad()
def test_padding_and_batch_do_not_change_a_bag(
    lengths: list[int], seed: int, garbage: float
) -> None:
    model = make_compressor(seed=seed)
    bags = [make_features(n, seed=seed + i) for i, n in enumerate(lengths)]
    longest = max(lengths) + 3
    batch = torch.full((len(bags), longest, 16), garbage)
    mask = torch.zeros(len(bags), longest, dtype=torch.bool)
    for i, bag in enumerate(bags):
        batch[i, : len(bag)], mask[i, : len(bag)] = bag, True

    padded = model(batch, mask)
    unpadded = model.compress(bags)

    assert torch.equal(padded.slots, unpadded.slots)
    for i, bag in enumerate(bags):
        alone = model(bag[None])
        assert close(padded.slots[i], alone.slots[0])
        assert close(padded.mass[i], alone.mass[0])
        assert torch.equal(padded.assignments[i, : len(bag)], alone.assignments[0])
        assert (padded.assignments[i, len(bag) :] == -1).all()
        assert (padded.weights[i, len(bag) :] == 0).all()
    assert close(padded.aux_loss, unpadded.aux_loss)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_padding_does_not_change_gradients(seed: int) -> None:
    model = make_compressor(seed=seed).train()
    model.router.noise_std = model.experts.dropout = 0.0
    bag = make_features(9, seed=seed)
    padded = torch.cat([bag, torch.full((4, 16), float("nan"))])[None]
    mask = torch.arange(13)[None] < 9

    def gradients(output: torch.Tensor, aux: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad(output.square().mean() + aux, list(model.parameters())))

    with_padding, without = model(padded, mask), model(bag[None])
    for a, b in zip(
        gradients(with_padding.slots, with_padding.aux_loss),
        gradients(without.slots, without.aux_loss),
        strict=True,
    ):
        assert close(a, b)


@given(num_patches=st.integers(1, 60), seed=SEEDS)
@settings(max_examples=30)
@torch.no_grad()
def test_order_of_patches_does_not_matter(num_patches: int, seed: int) -> None:
    model, bag = make_compressor(seed=seed), make_features(num_patches, seed=seed)
    order = torch.randperm(num_patches, generator=torch.Generator().manual_seed(seed))
    straight, shuffled = model(bag[None]), model(bag[order][None])
    assert close(shuffled.slots, straight.slots)
    assert torch.equal(shuffled.assignments[0], straight.assignments[0, order])


@given(cuts=st.lists(st.integers(0, 50), max_size=5), seed=SEEDS)
@settings(max_examples=40)
@torch.no_grad()
def test_any_chunking_and_merging_adds_up_to_one_pass(cuts: list[int], seed: int) -> None:
    model, bag = make_compressor(seed=seed), make_features(50, seed=seed)
    coords = torch.randint(0, 200_000, (50, 2), generator=torch.Generator().manual_seed(seed))
    edges = [0, *sorted(cuts), 50]
    whole = model.update(model.start(), bag, coords)

    streamed = model.start()
    parts = []
    for begin, end in itertools.pairwise(edges):
        streamed = model.update(streamed, bag[begin:end], coords[begin:end])
        parts.append(model.update(model.start(), bag[begin:end], coords[begin:end]))
    merged = model.start()
    for part in reversed(parts):
        merged = part.merge(merged)

    expected = model(bag[None])
    for state in (whole, streamed, merged):
        assert state.num_patches == 50
        assert close(model.finish(state), expected.slots[0])
        assert close(state.mass, expected.mass[0])
        assert state.footprint is not None
        assert whole.footprint is not None
        np.testing.assert_allclose(
            state.footprint.spread(), whole.footprint.spread(), rtol=1e-4, atol=1e-2
        )


@torch.no_grad()
def test_footprint_is_the_weighted_mean_and_spread_of_the_coordinates() -> None:
    model, bag = make_compressor(), make_features(30)
    coords = torch.randint(100_000, 100_200, (30, 2))
    state = model.update(model.start(), bag, coords)
    output = model(bag[None])
    dense = torch.zeros(30, 6).scatter(1, output.assignments[0], output.weights[0]).double()
    assert state.footprint is not None
    for slot in range(6):
        weight = dense[:, slot]
        mean = (weight[:, None] * coords).sum(0) / weight.sum()
        variance = (weight[:, None] * (coords - mean) ** 2).sum(0) / weight.sum()
        np.testing.assert_allclose(state.footprint.centroids()[slot], mean, rtol=1e-7)
        # a spread of some 50 px at 100,000 px: float32 moments would miss it altogether
        np.testing.assert_allclose(state.footprint.spread()[slot], variance.sqrt(), rtol=1e-3)


def test_a_part_without_coordinates_leaves_no_footprint() -> None:
    model, bag = make_compressor(), make_features(8)
    state = model.update(model.start(), bag, torch.zeros(8, 2))
    assert state.footprint is not None
    assert model.update(state, bag).footprint is None


@pytest.mark.parametrize("num_patches", [0, 1, 2, 5])
@torch.no_grad()
def test_fewer_patches_than_slots(num_patches: int) -> None:
    model = make_compressor()
    output = model(make_features(num_patches)[None])
    empty = output.mass[0] == 0
    assert empty.sum() >= 6 - 2 * num_patches
    # an empty slot is its expert's answer to the zero vector, as in the reference
    blank = model.experts(torch.zeros(1, 6, 16))
    assert torch.equal(output.slots[0, empty], blank[0, empty])
    assert torch.isfinite(output.slots).all()
    assert torch.isfinite(output.aux_loss)


@torch.no_grad()
def test_collapsed_routing_has_no_nan_and_two_slots() -> None:
    model = make_compressor()
    model.router.gate.weight.zero_()
    model.router.gate.bias.copy_(torch.tensor([0.0, 500, 0, 0, 400, 0]))
    output = model(make_features(40)[None])
    assert (output.assignments[0] == torch.tensor([1, 4])).all()
    assert torch.isfinite(output.slots).all()
    assert output.routing.effective_slots() == pytest.approx(2)


@torch.no_grad()
def test_exact_ties_give_exactly_two_slots_the_lower_first() -> None:
    model = make_compressor()
    model.router.gate.weight.zero_()
    model.router.gate.bias.zero_()
    output = model(make_features(40)[None])
    assert (output.assignments[0] == torch.tensor([0, 1])).all()
    assert torch.allclose(output.mass[0], torch.tensor([40 / 6, 40 / 6, 0, 0, 0, 0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision_features_equal_their_float32_values(dtype: torch.dtype) -> None:
    model, bag = make_compressor(), make_features(50).to(dtype)
    half, full = model(bag[None]), model(bag.float()[None])
    assert half.slots.dtype == torch.float32
    assert torch.equal(half.slots, full.slots)
    assert torch.equal(half.assignments, full.assignments)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_non_finite_patch_is_named_by_bag_and_row(bad: float) -> None:
    model = make_compressor()
    batch = make_features(30).reshape(2, 15, 16).clone()
    batch[1, 11, 3] = bad
    mask = torch.ones(2, 15, dtype=torch.bool)
    mask[1, :4] = False
    for output in (lambda: model(batch), lambda: model(batch, mask)):
        with pytest.raises(NonFiniteFeatureError, match=r"bag 1.*row 11"):
            output()
    with pytest.raises(NonFiniteFeatureError, match="row 26"):
        model.update(model.start(), batch.flatten(0, 1))
    state = model.update(model.start(), make_features(100))
    with pytest.raises(NonFiniteFeatureError, match="row 111"):
        model.update(state, batch[1])


def test_a_non_finite_patch_far_into_a_stream_is_found() -> None:
    model, bag = make_compressor(), make_features(5000)
    bag[4321, 0] = float("nan")
    with torch.no_grad(), pytest.raises(NonFiniteFeatureError, match="row 4321"):
        model(bag[None])


def test_training_is_noisy_and_evaluation_is_not() -> None:
    model, bag = make_compressor(), make_features(40)[None]
    assert torch.equal(model(bag).slots, model(bag).slots)
    model.train()
    assert not torch.equal(model(bag).slots, model(bag).slots)


@torch.no_grad()
def test_uniform_routing_has_a_loss_of_top_k() -> None:
    model = make_compressor()
    model.router.gate.weight.zero_()
    model.router.gate.bias.zero_()
    loss = model(make_features(40)[None]).aux_loss
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    assert float(loss) == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 5, 8), r"\[B, N, 16\], got \[2, 5, 8\]"),
        ((16,), "got"),
        ((5, 8), "got"),
        ((0, 5, 16), "no bag"),
    ],
)
def test_wrong_shapes_are_named(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make_compressor()(torch.zeros(shape))


@torch.no_grad()
def test_one_bag_is_a_batch_of_one_without_its_axis() -> None:
    model, bag = make_compressor(salience=True), make_features(9)
    mask = torch.arange(9) < 7
    for real in (None, mask):
        one, batch = model(bag, real), model(bag[None], None if real is None else real[None])
        for name in ("slots", "mass", "assignments", "weights", "salience"):
            assert torch.equal(getattr(one, name), getattr(batch, name)[0]), name
        assert torch.equal(one.aux_loss, batch.aux_loss)
    assert one.slots.shape == (model.config.num_slots, 16)
    assert one.assignments.shape == (9, 2)


def test_a_mask_of_another_shape_or_type_is_refused() -> None:
    model = make_compressor()
    for mask in (torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 5)):
        with pytest.raises(ShapeError, match="mask"):
            model(torch.zeros(1, 5, 16), mask)


def test_top_k_other_than_two() -> None:
    for top_k in (1, 3):
        output = make_compressor(top_k=top_k)(make_features(9)[None])
        assert output.assignments.shape == (1, 9, top_k)
        assert float(output.routing.utilisation().sum()) == pytest.approx(1)


def test_a_config_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="top_k = 3 exceeds num_slots = 2"):
        CompressorConfig(num_slots=2, top_k=3)


def test_parameters_are_stacked() -> None:
    names = dict(SlotCompressor(CompressorConfig(feature_dim=4, num_slots=3)).named_parameters())
    assert len(names) == 8
    assert names["experts.w_in"].shape == (3, 4, 512)


def test_under_autocast_only_pooling_is_in_half_precision() -> None:
    model, bag = make_compressor(), make_features(50)
    exact = model.compress([bag])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model.compress([bag])
        (part,) = model.aggregate([bag])
    refined = model.experts(part.state.centers().float().unsqueeze(0))
    assert torch.equal(output.slots, refined)
    assert torch.equal(output.assignments[0], exact.assignments[0])
    assert not torch.equal(output.slots, exact.slots)
    torch.testing.assert_close(output.slots, exact.slots, rtol=0.05, atol=0.05)
