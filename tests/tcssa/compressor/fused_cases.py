"""The fused kernel against plain torch. `test_fused.py` runs this in a process of its own.

Triton must be told to interpret before it is imported. With a GPU the same cases run on it:
pytest tests/tcssa/compressor/fused_cases.py
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import triton.language as tl
from factories import make_compressor, make_features
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from shared_data import GOLDEN, require_shared
from torch import Tensor
from triton.runtime import interpreter

from tcssa import SlotCompressor
from tcssa.compressor import compressor_from_reference, fused
from tcssa.compressor.aggregation import plain_sums_of
from tcssa.errors import NonFiniteFeatureError

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True, scope="module")
def interpreted_bfloat16() -> Iterator[None]:
    """Triton's interpreter multiplies the bit patterns of bfloat16; here it gets their values."""
    original = interpreter.InterpreterBuilder.create_dot

    def values(handle: interpreter.TensorHandle) -> interpreter.TensorHandle:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        bits = handle.data.astype(np.uint32) << 16
        return interpreter.TensorHandle(bits.view(np.float32), tl.float32)

    def create_dot(self, a, b, d, *rest):  # noqa: ANN001, ANN002, ANN202
        return original(self, values(a), values(b), d, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter.InterpreterBuilder, "create_dot", create_dot)
        yield


@pytest.fixture(autouse=True, scope="module")
def on_any_device() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "takes", lambda *_: True)
        yield


SHAPES = [(1, 2, 1), (33, 17, 4), (130, 3, 3), (300, 32, 2), (200, 128, 2)]
"""D, K and top-k; the last has two blocks of columns."""


def assert_close(actual: Tensor, expected: Tensor, relative: float = 1e-5) -> None:
    assert actual.shape == expected.shape
    if expected.numel():
        assert (actual - expected).abs().max() <= relative * expected.abs().max().clamp(min=1e-30)


def assert_same(model: SlotCompressor, bags: list[Tensor]) -> None:
    """Everything that the kernel gives against plain torch, bag by bag."""
    model.to(DEVICE)
    bags = [bag.to(DEVICE) for bag in bags]
    gate = model.router.gate
    with torch.no_grad():
        salience = model.router.salience
        line = None if salience is None else salience.line()
        sums = fused.fused_sums(bags, gate.weight, gate.bias, model.config.top_k, line)
        begin = 0
        for i, bag in enumerate(bags):
            plain = plain_sums_of(model.router, bag)
            rows = slice(begin, begin + len(bag))
            assert torch.equal(sums.indices[rows], plain.assignments)
            assert_close(sums.weights[rows], plain.weights)
            if plain.salience is not None:
                assert_close(sums.salience[rows], plain.salience)
            assert_close(sums.mass[i], plain.state.mass)
            assert torch.equal(sums.mass[i] > 0, plain.state.mass > 0)
            centers = sums.weighted_sum[i] / sums.mass[i].clamp(min=1e-30).unsqueeze(1)
            assert_close(centers, plain.state.centers())
            assert_close(sums.probs[i], plain.routing.probs)
            assert torch.equal(sums.counts[i], plain.routing.counts)
            assert_close(sums.logsumexp[i], plain.routing.logsumexp)
            begin += len(bag)


@pytest.mark.parametrize("name", GOLDEN)
def test_slots_are_the_references(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = load_file(require_shared(f"golden/{name}.safetensors"))
    state = {k.removeprefix("state."): v for k, v in golden.items() if k.startswith("state.")}
    model = compressor_from_reference(state).eval().to(DEVICE)
    monkeypatch.delattr("tcssa.compressor.compressor.plain_sums_of")  # so that it is the kernel
    with torch.no_grad():
        output = model(golden["features"].to(DEVICE))
    num_bags = len(golden["features"])
    assert_close(output.slots.cpu(), golden["eval.slots"])
    assert torch.equal(output.routing.counts.cpu() / num_bags, golden["eval.slot_counts"])
    assert_close(output.routing.probs.cpu() / num_bags, golden["eval.importance"])


@pytest.mark.parametrize("name", GOLDEN)
def test_gradients_are_the_references(name: str) -> None:
    golden = load_file(require_shared(f"golden/{name}.safetensors"))
    state = {k.removeprefix("state."): v for k, v in golden.items() if k.startswith("state.")}
    model = compressor_from_reference(state).train().to(DEVICE)
    model.router.noise_std = model.experts.dropout = 0.0
    features = golden["features"].to(DEVICE).requires_grad_()
    output = model(features)
    assert_close(output.aux_loss.cpu(), golden["train.aux_loss"])
    (output.slots.square().mean() + 0.1 * output.aux_loss).backward()
    gate = model.router.gate
    assert features.grad is not None
    assert gate.weight.grad is not None
    assert gate.bias.grad is not None
    assert_close(features.grad.cpu(), golden["train.grad_features"])
    assert_close(gate.weight.grad.cpu(), golden["train.grad_gate_weight"])
    assert_close(gate.bias.grad.cpu(), golden["train.grad_gate_bias"])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("num_patches", [0, 1, 2, 5, 7, 300])
def test_any_number_of_patches(num_patches: int, dtype: torch.dtype) -> None:
    model = make_compressor(feature_dim=96, num_slots=6)
    assert_same(model, [make_features(num_patches, 96).to(dtype)])


@pytest.mark.parametrize("num_patches", [0, 1, 300])
def test_any_number_of_salient_patches(num_patches: int) -> None:
    model = make_compressor(feature_dim=96, num_slots=6, salience=True)
    assert_same(model, [make_features(num_patches, 96).half()])


@pytest.mark.parametrize(
    ("feature_dim", "num_slots", "top_k", "dtype"),
    [
        *((*shape, dtype) for shape in SHAPES for dtype in DTYPES),
        (1100, 32, 2, torch.float16),  # two blocks of columns, the largest
    ],
)
def test_shapes_that_fit_no_block(
    feature_dim: int, num_slots: int, top_k: int, dtype: torch.dtype
) -> None:
    model = make_compressor(feature_dim, num_slots, top_k, salience=True)
    assert_same(model, [make_features(n, feature_dim, seed=n).to(dtype) for n in (3, 70)])


@given(st.data())
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_the_bags(data: st.DataObject) -> None:
    feature_dim = data.draw(st.integers(1, 40))
    num_slots = data.draw(st.integers(2, 20))
    top_k = data.draw(st.integers(1, min(4, num_slots)))
    dtype = data.draw(st.sampled_from(DTYPES))
    sizes = data.draw(st.lists(st.integers(0, 300), min_size=1, max_size=4))
    model = make_compressor(feature_dim, num_slots, top_k, salience=data.draw(st.booleans()))
    assert_same(model, [make_features(n, feature_dim, seed=n).to(dtype) for n in sizes])


def test_what_a_bag_is_batched_with_changes_no_bit() -> None:
    model = make_compressor(feature_dim=40).to(DEVICE)
    bags = [make_features(n, 40, seed=n).half().to(DEVICE) for n in (300, 5, 0, 600)]
    gate = model.router.gate
    with torch.no_grad():
        together = fused.fused_sums(bags, gate.weight, gate.bias, 2)
        again = fused.fused_sums(bags[::-1], gate.weight, gate.bias, 2)
        for i, bag in enumerate(bags):
            alone = fused.fused_sums([bag], gate.weight, gate.bias, 2)
            for sums, place in ((together, i), (again, 3 - i)):
                assert torch.equal(alone.weighted_sum[0], sums.weighted_sum[place])
                assert torch.equal(alone.mass[0], sums.mass[place])


def test_a_bag_may_begin_anywhere() -> None:
    model = make_compressor(feature_dim=33)
    rows = make_features(50, 33).half()
    strided = make_features(30, 66).half()[:, ::2]
    assert_same(model, [rows[1:20], rows[20:], strided])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_lower_slot_wins_a_tie(dtype: torch.dtype) -> None:
    model = make_compressor(feature_dim=24, num_slots=8, top_k=3)
    with torch.no_grad():
        model.router.gate.weight[1:] = model.router.gate.weight[:1]
        model.router.gate.bias.zero_()
    bag = make_features(40, 24).to(dtype)
    assert_same(model, [bag])
    gate = model.router.gate
    sums = fused.fused_sums([bag.to(DEVICE)], gate.weight, gate.bias, 3)
    assert (sums.indices.cpu() == torch.arange(3)).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_routing_that_collapsed(dtype: torch.dtype) -> None:
    model = make_compressor(feature_dim=24)
    with torch.no_grad():
        model.router.gate.bias[2] += 40  # all other weights are about 1e-18
    assert_same(model, [make_features(300, 24).to(dtype)])


def test_small_weights_among_large_ones_keep_their_digits() -> None:
    # slot 1 begins with weights of 1e-9 and then gets large ones; slot 3 has only small ones
    model = make_compressor(feature_dim=8, num_slots=4)
    gate = model.router.gate
    with torch.no_grad():
        gate.weight.zero_()
        gate.weight[1, 0] = gate.weight[3, 1] = 1.0
        gate.bias.copy_(torch.tensor([0.0, -20.0, -300.0, -25.0]))
    bag = make_features(900, 8)
    bag[:, :2] = 0
    bag[600:, 0] = 20.0
    bag[:300, 1] = 10.0
    assert_same(model, [bag.half()])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy plays the GPU and remarks on NaN
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_feature_that_is_not_finite_is_named(value: float, dtype: torch.dtype) -> None:
    model = make_compressor(feature_dim=24).to(DEVICE)
    bags = [make_features(n, 24).to(dtype).to(DEVICE) for n in (20, 300)]
    bags[1][257, 3] = value
    with torch.no_grad(), pytest.raises(NonFiniteFeatureError) as caught:
        model.compress(bags)
    assert (caught.value.bag, caught.value.row) == (1, 257)
    with pytest.raises(NonFiniteFeatureError) as caught:
        model.update(model.update(model.start(), bags[0]), bags[1])
    assert caught.value.row == 277


@pytest.mark.parametrize("salience", [False, True], ids=["plain", "salient"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_are_those_of_plain_torch(dtype: torch.dtype, salience: bool) -> None:
    model = make_compressor(feature_dim=24, salience=salience).to(DEVICE)
    sizes = (40, 1, 0, 7)
    gradients = []
    for is_fused in (True, False):
        model.fused = is_fused
        model.zero_grad()
        bags = [
            make_features(n, 24, seed=n).to(dtype).to(DEVICE).requires_grad_(n != 7) for n in sizes
        ]
        output = model.compress(bags)
        mixed = torch.cat(output.weights).square().sum() + output.mass.square().sum()
        if output.salience is not None:
            mixed = mixed + torch.cat(output.salience).square().sum()
        (output.slots.square().mean() + 0.1 * output.aux_loss + 1e-3 * mixed).backward()
        gate = model.router.gate
        found = [gate.weight.grad, gate.bias.grad, bags[0].grad, bags[1].grad]
        if model.router.salience is not None:
            found += [model.router.salience.weight.grad, model.router.salience.bias.grad]
        gradients.append(found)
        assert bags[3].grad is None
    for ours, plain in zip(*gradients, strict=True):
        # the gradient of a half is a half
        assert_close(ours.float(), plain.float(), 1e-5 if dtype == torch.float32 else 4e-3)


@pytest.mark.parametrize("salience", [False, True], ids=["plain", "salient"])
def test_coordinates_and_streaming(salience: bool) -> None:
    model = make_compressor(feature_dim=24, salience=salience).to(DEVICE)
    bag, coords = make_features(90, 24).to(DEVICE), torch.arange(180).view(90, 2)
    state = model.start()
    for rows in (slice(0, 50), slice(50, 90)):
        state = model.update(state, bag[rows], coords[rows])
    model.fused = False
    plain = model.update(model.start(), bag, coords)
    assert state.num_patches == 90
    assert state.footprint is not None
    assert plain.footprint is not None
    assert_close(state.centers(), plain.centers())
    np.testing.assert_allclose(state.footprint.centroids(), plain.footprint.centroids(), rtol=1e-5)


def test_changed_weights_are_split_anew() -> None:
    model = make_compressor(feature_dim=24)
    bag = make_features(40, 24).half()
    assert_same(model, [bag])
    with torch.no_grad():
        model.router.gate.weight.add_(torch.randn_like(model.router.gate.weight))
    assert_same(model, [bag])
