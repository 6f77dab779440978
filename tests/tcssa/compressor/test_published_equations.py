"""The compressor against the published equations in float64, where no golden tensors are needed.

`test_golden.py` holds it against what the reference implementation computed; this holds it
against what the paper writes, of which tests/support/published_equations.py is a copy in NumPy.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import published_equations as published
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcssa import CompressorConfig, SlotCompressor
from tcssa.compressor import compressor_from_reference


class Case(NamedTuple):
    """Bags that a model of random weights compresses."""

    num_slots: int
    feature_dim: int
    hidden_dim: int
    sizes: Sequence[int]
    seed: int
    equal_logits: Sequence[int] = ()
    """Slots that get the gate of the first of them."""
    offset: float = 0.0
    """Added to the logit of slot 0: at 30 it takes all, and the others' weights are tiny."""


CASES = {
    "one-bag": Case(8, 32, 16, [200], 0),
    "three-bags": Case(16, 24, 12, [300, 60, 7], 1),
    "one-patch": Case(6, 16, 8, [1], 2),
    "three-patches-and-empty-slots": Case(8, 32, 16, [3], 3),
    "two-slots": Case(2, 12, 6, [40], 4),
    "all-logits-equal": Case(5, 16, 8, [20], 5, equal_logits=range(5)),
    "some-logits-equal": Case(7, 16, 8, [90], 6, equal_logits=[2, 4, 6]),
    "one-slot-takes-all": Case(6, 16, 8, [50], 7, offset=30.0),
}


class Drawn(NamedTuple):
    parameters: published.Parameters
    bags: list[NDArray[np.float64]]

    @property
    def tensors(self) -> list[Tensor]:
        return [torch.from_numpy(bag).float() for bag in self.bags]


@pytest.fixture(params=CASES.values(), ids=CASES)
def drawn(request: pytest.FixtureRequest) -> Drawn:
    case: Case = request.param
    parameters = published.draw(case.num_slots, case.feature_dim, case.hidden_dim, case.seed)
    parameters.gate_bias[0] += case.offset
    bags = [drawn_bag(size, case) for size in case.sizes]
    if case.equal_logits:
        first = case.equal_logits[0]
        for array in (parameters.gate_weight, parameters.gate_bias):
            array[list(case.equal_logits)] = array[first]
        # in eighths every sum is exact, so that logits are equal in whatever order one adds
        for array in (parameters.gate_weight, parameters.gate_bias, *bags):
            array[:] = np.round(array * 8) / 8
    return Drawn(parameters, bags)


def drawn_bag(size: int, case: Case) -> NDArray[np.float64]:
    rng = np.random.default_rng([case.seed, size])
    return rng.standard_normal((size, case.feature_dim)).astype(np.float32).astype(np.float64)


@pytest.fixture
def model(drawn: Drawn) -> SlotCompressor:
    """A compressor that holds the drawn parameters, put into place by hand."""
    gate, experts = drawn.parameters.gate_weight, drawn.parameters.experts
    num_slots, feature_dim = gate.shape
    model = SlotCompressor(
        CompressorConfig(
            feature_dim=feature_dim, num_slots=num_slots, hidden_dim=len(experts[0].b1)
        )
    )
    placed = {
        "router.gate.weight": gate,
        "router.gate.bias": drawn.parameters.gate_bias,
        "experts.w_in": np.stack([each.w1.T for each in experts]),
        "experts.b_in": np.stack([each.b1[None] for each in experts]),
        "experts.w_out": np.stack([each.w2.T for each in experts]),
        "experts.b_out": np.stack([each.b2[None] for each in experts]),
        "experts.norm_weight": np.stack([each.norm_weight[None] for each in experts]),
        "experts.norm_bias": np.stack([each.norm_bias[None] for each in experts]),
    }
    model.load_state_dict({key: torch.from_numpy(value) for key, value in placed.items()})
    return model.eval()


def assert_within(actual: Tensor, expected: Any, relative: float = 1e-5) -> None:
    """Largest deviation, relative to the array's largest entry."""
    found, expected = actual.detach().double().numpy(), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= relative * np.abs(expected).max()


def test_slots_mass_and_routing_are_the_published_ones(drawn: Drawn, model: SlotCompressor) -> None:
    with torch.no_grad():
        output = model.compress(drawn.tensors)
    for i, bag in enumerate(drawn.bags):
        expected = published.compress(drawn.parameters, bag)
        assert output.assignments[i].tolist() == expected.assignments.tolist()
        assert_within(output.weights[i], expected.weights)
        assert_within(output.mass[i], expected.mass)
        assert_within(output.slots[i], expected.slots)
        assert np.array_equal(output.mass[i].numpy() == 0, expected.mass == 0)
    assert_within(output.aux_loss, published.balance_loss(drawn.parameters, drawn.bags))


def test_a_stream_of_chunks_gives_the_published_slots(drawn: Drawn, model: SlotCompressor) -> None:
    for bag, expected in zip(drawn.tensors, drawn.bags, strict=True):
        state = model.start()
        for chunk in bag.split(7):
            state = model.update(state, chunk)
        assert_within(model.finish(state), published.compress(drawn.parameters, expected).slots)


def test_training_without_noise_and_dropout_is_the_published_forward(
    drawn: Drawn, model: SlotCompressor
) -> None:
    model.train()
    model.router.noise_std = model.experts.dropout = 0.0
    output = model.compress(drawn.tensors)
    expected = [published.compress(drawn.parameters, bag).slots for bag in drawn.bags]
    assert_within(output.slots, np.stack(expected))
    assert_within(output.aux_loss, published.balance_loss(drawn.parameters, drawn.bags))


def test_a_checkpoint_by_the_published_names_is_the_same_model(
    drawn: Drawn, model: SlotCompressor
) -> None:
    state = published.reference_state(drawn.parameters)
    read = compressor_from_reference({key: torch.from_numpy(each) for key, each in state.items()})
    for key, value in model.state_dict().items():
        assert torch.equal(read.state_dict()[key], value), key


def test_the_gradient_is_the_slope_of_the_published_equations() -> None:
    """One random direction in all features and gate weights, by central differences."""
    parameters = published.draw(6, 16, 8, seed=8)
    rng = np.random.default_rng(9)
    bag = rng.standard_normal((40, 16)).astype(np.float32).astype(np.float64)
    towards_bag, towards_gate = rng.standard_normal((40, 16)), rng.standard_normal((6, 16))
    weights = rng.standard_normal((6, 16))

    def objective(step: float) -> float:
        moved = published.Parameters(
            parameters.gate_weight + step * towards_gate, parameters.gate_bias, parameters.experts
        )
        there = bag + step * towards_bag
        slots = published.compress(moved, there).slots
        return float((weights * slots).sum() + published.balance_loss(moved, [there]))

    step = 1e-6  # no patch changes its slots within it
    slope = (objective(step) - objective(-step)) / (2 * step)
    state = published.reference_state(parameters)
    model = compressor_from_reference({key: torch.from_numpy(each) for key, each in state.items()})
    model.train()
    model.router.noise_std = model.experts.dropout = 0.0
    features = torch.from_numpy(bag).float().requires_grad_()
    output = model.compress([features])
    ((torch.from_numpy(weights) * output.slots[0]).sum() + output.aux_loss).backward()
    gate = model.router.gate
    assert features.grad is not None
    assert gate.weight.grad is not None
    found = float((features.grad.numpy() * towards_bag).sum())
    found += float((gate.weight.grad.numpy() * towards_gate).sum())
    assert found == pytest.approx(slope, rel=1e-4)


def test_the_edge_cases_are_what_they_are_called() -> None:
    empty = CASES["three-patches-and-empty-slots"]
    parameters = published.draw(empty.num_slots, empty.feature_dim, empty.hidden_dim, empty.seed)
    mass = published.compress(parameters, drawn_bag(3, empty)).mass
    assert (mass == 0).sum() >= 2
