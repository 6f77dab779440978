"""The export graph against the compressor, both in torch."""

import pytest
import torch
from factories import make_compressor

from tcssa_exporters.graph import ExportGraph


@pytest.mark.parametrize("top_k", [1, 2, 3, 6])
def test_equals_the_compressor(top_k: int) -> None:
    model = make_compressor(top_k=top_k)
    features = torch.randn(3, 40, 16)
    lengths = torch.tensor([40, 0, 3])
    with torch.no_grad():
        slots, mass, assignments, weights = ExportGraph(model)(features, lengths)
        expected = model(features, torch.arange(40) < lengths.unsqueeze(1))
    torch.testing.assert_close(slots, expected.slots, atol=2e-5, rtol=0)
    torch.testing.assert_close(mass, expected.mass)
    torch.testing.assert_close(weights, expected.weights)
    assert torch.equal(assignments, expected.assignments)


def test_ties_go_to_the_lower_slot() -> None:
    model = make_compressor()
    torch.nn.init.zeros_(model.router.gate.weight)
    torch.nn.init.zeros_(model.router.gate.bias)
    _, _, assignments, _ = ExportGraph(model)(torch.randn(1, 5, 16), torch.tensor([5]))
    assert assignments.tolist() == [[[0, 1]] * 5]


def test_padding_has_no_slot_and_no_weight() -> None:
    _, _, assignments, weights = ExportGraph(make_compressor())(
        torch.randn(1, 4, 16), torch.tensor([3])
    )
    assert assignments[0, 3].tolist() == [-1, -1]
    assert weights[0, 3].tolist() == [0, 0]


def test_the_model_stays_as_it_is() -> None:
    model = make_compressor().double().train()
    ExportGraph(model)
    assert model.training
    assert model.router.gate.weight.dtype == torch.float64
