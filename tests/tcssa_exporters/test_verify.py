"""An export that computes something else must never come into being."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import make_compressor
from numpy.typing import NDArray
from torch import Tensor

from tcssa import SlotCompressor
from tcssa.errors import ParityError
from tcssa_exporters import export_compressor, graph
from tcssa_exporters.graph import ExportGraph
from tcssa_exporters.verify import Outputs, cases, verify


class ScalarDelta(ExportGraph):
    """Guards empty slots as the published code does; ONNX optimisers fold the addition away."""

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        _, mass, assignments, weights = super().forward(features, lengths)
        dense = self._spread(assignments, weights)
        centers = (dense / (mass + 1e-9).unsqueeze(1)).transpose(1, 2) @ features
        return self.experts(centers), mass, assignments, weights


class DriftingSum(ExportGraph):
    """Sums the mass up patch by patch, which float32 does not bear over many patches."""

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        _, _, assignments, weights = super().forward(features, lengths)
        dense = self._spread(assignments, weights)
        mass = dense.sum(dim=1)
        share = dense / torch.where(mass > 0, mass, 1.0).unsqueeze(1)
        return self.experts(share.transpose(1, 2) @ features), mass, assignments, weights


class OtherWeights(ExportGraph):
    """An expert that is off by a little."""

    def __init__(self, model: SlotCompressor) -> None:
        super().__init__(model)
        self.experts.b_out.data[0, 0, 0] += 0.01


class OtherGate(ExportGraph):
    """A gate that prefers another slot by a little."""

    def __init__(self, model: SlotCompressor) -> None:
        super().__init__(model)
        self.gate.bias.data[3] += 1e-3


@pytest.mark.parametrize("broken", [ScalarDelta, DriftingSum, OtherWeights, OtherGate])
def test_a_broken_graph_fails_and_leaves_nothing(
    broken: type[ExportGraph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "ExportGraph", broken)
    with pytest.raises(ParityError, match="deviate from torch by"):
        export_compressor(make_compressor(), tmp_path / "artefact", checkpoint_sha256="x")
    assert list(tmp_path.iterdir()) == []


def runner(
    model: SlotCompressor, change: Callable[[dict[str, NDArray[np.generic]]], None]
) -> Callable[[NDArray[np.float32], NDArray[np.int64]], Outputs]:
    """The right outputs, changed."""

    class Arrays:
        def __init__(self, values: dict[str, NDArray[np.generic]]) -> None:
            vars(self).update(values)

    def run(features: NDArray[np.float32], lengths: NDArray[np.int64]) -> Outputs:
        mask = torch.arange(features.shape[1]) < torch.from_numpy(lengths).unsqueeze(1)
        with torch.no_grad():
            output = model(torch.from_numpy(features), mask)
        outputs = {name: getattr(output, name).numpy() for name in graph.OUTPUTS}
        change(outputs)
        return Arrays(outputs)  # type: ignore[return-value]  # its attributes are set by name

    return run


def test_a_second_slot_that_torch_did_not_choose_fails() -> None:
    def reroute(outputs: dict[str, NDArray[np.generic]]) -> None:
        outputs["assignments"][0, 0, 1] = (outputs["assignments"][0, 0, 1] + 1) % 6  # type: ignore[operator]

    with pytest.raises(ParityError, match="other slots"):
        verify(make_compressor(), runner(make_compressor(), reroute), "")


def test_a_swap_of_two_equal_slots_passes() -> None:
    model = make_compressor()
    torch.nn.init.zeros_(model.router.gate.weight)
    torch.nn.init.zeros_(model.router.gate.bias)

    def swap(outputs: dict[str, NDArray[np.generic]]) -> None:
        outputs["assignments"] = np.where(
            outputs["assignments"] < 0, -1, outputs["assignments"][..., ::-1]
        )

    parity = verify(model, runner(model, swap), "passed")
    assert {row.routed_alike for row in parity.rows} == {0.0}


@pytest.mark.parametrize("name", graph.OUTPUTS)
def test_another_shape_fails(name: str) -> None:
    def cut(outputs: dict[str, NDArray[np.generic]]) -> None:
        outputs[name] = outputs[name][..., :-1]

    with pytest.raises(ParityError, match=f"{name} have shape"):
        verify(make_compressor(), runner(make_compressor(), cut), "")


def test_limits_of_an_engine_leave_larger_cases_out() -> None:
    model = make_compressor()
    parity = verify(model, runner(model, lambda _: None), "", max_patches=10, max_batch=1)
    assert {(row.batch, row.num_patches) for row in parity.rows} == {(1, 1), (1, 2), (1, 7)}


def test_the_cases_are_those_promised() -> None:
    made = list(cases(4))
    sizes = {(len(case.lengths), case.features.shape[1]) for case in made}
    assert {(b, n) for b in (1, 3) for n in (1, 2, 7, 1000, 20_000)} <= sizes
    assert {"empty slots", "all-zero features", "large magnitudes"} <= {c.name for c in made}
    assert any(len(set(case.lengths.tolist())) == 3 for case in made)


def test_a_sharp_gate_is_no_deviation(tmp_path: Path) -> None:
    """Of trained gates the logits are large, and float32 weights as inexact as they are."""
    model = make_compressor(feature_dim=256, num_slots=8)
    with torch.no_grad():
        model.router.gate.weight *= 40
    artefact = export_compressor(model, tmp_path / "artefact", checkpoint_sha256="0")
    assert {row.case for row in artefact.parity.rows} >= {"large magnitudes", "empty slots"}
    assert all(row.routed_alike > 0.999 for row in artefact.parity.rows)
