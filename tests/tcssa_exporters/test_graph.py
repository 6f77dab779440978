"""The export graphs against the compressor, all in torch."""

import pytest
import torch
from factories import make_compressor
from torch import nn

from tcssa_exporters.graph import FullGraph, build_graphs

HALF = [(torch.float16, 3e-3), (torch.bfloat16, 3e-2)]


def full(
    model: nn.Module, dtype: torch.dtype = torch.float32, *, for_onnx_runtime: bool = False
) -> FullGraph:
    return FullGraph(*build_graphs(model, {}, dtype, for_onnx_runtime=for_onnx_runtime))


@pytest.mark.parametrize("for_onnx_runtime", [False, True])
@pytest.mark.parametrize("top_k", [1, 2, 3, 6])
@torch.no_grad()
def test_equals_the_compressor(top_k: int, for_onnx_runtime: bool) -> None:
    model = make_compressor(top_k=top_k)
    features = torch.randn(3, 40, 16)
    lengths = torch.tensor([40, 0, 3])
    run = full(model, for_onnx_runtime=for_onnx_runtime)
    slots, mass, assignments, weights = run(features, lengths)
    expected = model(features, torch.arange(40) < lengths.unsqueeze(1))
    torch.testing.assert_close(slots, expected.slots, atol=2e-5, rtol=0)
    torch.testing.assert_close(mass, expected.mass)
    torch.testing.assert_close(weights, expected.weights)
    assert torch.equal(assignments, expected.assignments)


@pytest.mark.parametrize("for_onnx_runtime", [False, True])
@torch.no_grad()
def test_an_embedding_is_the_first_step(for_onnx_runtime: bool) -> None:
    model = make_compressor(feature_dim=12, embedded_from=16, salience=True)
    features, lengths = torch.randn(2, 40, 16), torch.tensor([40, 3])
    slots, mass, assignments, *_ = full(model, for_onnx_runtime=for_onnx_runtime)(features, lengths)
    expected = model(features, torch.arange(40) < lengths.unsqueeze(1))
    assert slots.shape == (2, 6, 12)
    torch.testing.assert_close(slots, expected.slots, atol=2e-5, rtol=0)
    torch.testing.assert_close(mass, expected.mass)
    assert torch.equal(assignments, expected.assignments)


@pytest.mark.parametrize("embedded_from", [None, 96])
@pytest.mark.parametrize(("dtype", "tolerance"), HALF)
@torch.no_grad()
def test_half_precision_routes_alike_and_is_near(
    dtype: torch.dtype, tolerance: float, embedded_from: int | None
) -> None:
    model = make_compressor(feature_dim=64, num_slots=8, embedded_from=embedded_from)
    features = torch.randn(1, 3000, model.config.patch_dim).half()
    slots, _, assignments, _ = full(model, dtype)(features, torch.tensor([3000]))
    expected = model(features.float())
    assert torch.equal(assignments, expected.assignments)
    assert (slots - expected.slots).abs().max() <= tolerance * expected.slots.abs().max()


@torch.no_grad()
def test_float16_shares_of_a_large_bag_do_not_vanish() -> None:
    model = make_compressor(feature_dim=16, num_slots=8)
    partial, _ = build_graphs(model, {}, torch.float16)
    features = (1 + 0.1 * torch.randn(1, 200_000, 16)).half()
    mean, mass, _, _ = partial(features, torch.tensor([200_000]))
    state = model.update(model.start(), features[0])
    expected = state.centers()[mass[0] > 0]
    assert (mean[0][mass[0] > 0] - expected).abs().max() <= 3e-3 * expected.abs().max()


@torch.no_grad()
def test_chunks_add_up_to_the_whole() -> None:
    model = make_compressor()
    partial, finish = build_graphs(model, {}, torch.float32)
    features = torch.randn(1, 50, 16)
    sums, mass = torch.zeros(6, 16), torch.zeros(6)
    for begin in range(0, 50, 20):
        chunk = torch.zeros(1, 20, 16)
        rows = features[0, begin : begin + 20]
        chunk[0, : len(rows)] = rows
        chunk_mean, chunk_mass, _, _ = partial(chunk, torch.tensor([len(rows)]))
        sums += chunk_mean[0] * chunk_mass[0][:, None]
        mass += chunk_mass[0]
    mean = sums / torch.where(mass > 0, mass, 1)[:, None]
    (slots,) = finish(mean[None])
    torch.testing.assert_close(slots, model(features).slots, atol=2e-5, rtol=0)


def test_ties_go_to_the_lower_slot() -> None:
    model = make_compressor()
    torch.nn.init.zeros_(model.router.gate.weight)
    torch.nn.init.zeros_(model.router.gate.bias)
    _, _, assignments, _ = full(model)(torch.randn(1, 5, 16), torch.tensor([5]))
    assert assignments.tolist() == [[[0, 1]] * 5]


def test_padding_has_no_slot_and_no_weight() -> None:
    _, _, assignments, weights = full(make_compressor())(torch.randn(1, 4, 16), torch.tensor([3]))
    assert assignments[0, 3].tolist() == [-1, -1]
    assert weights[0, 3].tolist() == [0, 0]


def test_the_model_stays_as_it_is() -> None:
    model = make_compressor().double().train()
    build_graphs(model, {}, torch.float16)
    assert model.training
    assert model.router.gate.weight.dtype == torch.float64
