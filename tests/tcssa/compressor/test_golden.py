"""The compressor against tensors that the reference implementation computed."""

import pytest
import torch
from safetensors.torch import load_file
from shared_data import GOLDEN, require_shared
from torch import Tensor

from tcssa import SlotCompressor
from tcssa.compressor import compressor_from_reference


@pytest.fixture(params=GOLDEN)
def golden(request: pytest.FixtureRequest) -> dict[str, Tensor]:
    return load_file(require_shared(f"golden/{request.param}.safetensors"))


@pytest.fixture
def model(golden: dict[str, Tensor]) -> SlotCompressor:
    state = {k.removeprefix("state."): v for k, v in golden.items() if k.startswith("state.")}
    return compressor_from_reference(state)


def assert_within(actual: Tensor, expected: Tensor, relative: float = 1e-5) -> None:
    """Largest deviation, relative to the tensor's largest entry."""
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= relative * expected.abs().max()


def test_slots_and_counts_in_evaluation(golden: dict[str, Tensor], model: SlotCompressor) -> None:
    with torch.no_grad():
        output = model.eval()(golden["features"])
    num_bags = len(golden["features"])
    assert_within(output.slots, golden["eval.slots"])
    # the reference reports means over the bags
    assert torch.equal(output.routing.counts / num_bags, golden["eval.slot_counts"])
    assert_within(output.routing.probs / num_bags, golden["eval.importance"])


def test_streaming_gives_the_same_slots(golden: dict[str, Tensor], model: SlotCompressor) -> None:
    model.eval()
    for bag, expected in zip(golden["features"], golden["eval.slots"], strict=True):
        state = model.start()
        for chunk in bag.split(7):
            state = model.update(state, chunk)
        assert_within(model.finish(state), expected)


def test_training_loss_and_gradients(golden: dict[str, Tensor], model: SlotCompressor) -> None:
    # the reference computed these with its noise and its dropout switched off
    model.train()
    model.router.noise_std = 0.0
    model.experts.dropout = 0.0
    features = golden["features"].clone().requires_grad_()
    output = model(features)
    assert_within(output.slots, golden["train.slots"])
    assert_within(output.aux_loss, golden["train.aux_loss"])
    (output.slots.square().mean() + 0.1 * output.aux_loss).backward()
    gate = model.router.gate
    assert features.grad is not None
    assert gate.weight.grad is not None
    assert gate.bias.grad is not None
    assert model.experts.w_in.grad is not None
    assert_within(features.grad, golden["train.grad_features"])
    assert_within(gate.weight.grad, golden["train.grad_gate_weight"])
    assert_within(gate.bias.grad, golden["train.grad_gate_bias"])
    assert_within(model.experts.w_in.grad[0].T, golden["train.grad_expert0_in"])
