"""An export that computes something else must never come into being."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from factories import make_compressor
from numpy.typing import NDArray
from torch import Tensor

from tcssa import SlotCompressor
from tcssa.errors import ParityError
from tcssa_exporters import export_compressor, graph
from tcssa_exporters.expected import TorchModel
from tcssa_exporters.graph import PartialGraph
from tcssa_exporters.parity_cases import cases
from tcssa_exporters.precision import PRECISIONS
from tcssa_exporters.source import ExportSource, Member
from tcssa_exporters.verify import Arrays, Run, Verifier

Sums = tuple[Tensor, Tensor, Tensor, Tensor]
OUTPUTS = ("slots", "mass", "assignments", "weights")


class ScalarDelta(PartialGraph):
    """Guards empty slots as the published code does; ONNX optimisers fold the addition away."""

    def forward(self, features: Tensor, lengths: Tensor) -> Sums:
        _, mass, assignments, weights = super().forward(features, lengths)
        share = self.spread(assignments, weights) / (mass + 1e-9).unsqueeze(1)
        return share.transpose(1, 2) @ features.float(), mass, assignments, weights


class DriftingSum(PartialGraph):
    """Sums the mass up patch by patch, which float32 does not bear over many patches."""

    def forward(self, features: Tensor, lengths: Tensor) -> Sums:
        _, _, assignments, weights = super().forward(features, lengths)
        dense = self.spread(assignments, weights)
        mass = dense.sum(dim=1)
        share = dense / torch.where(mass > 0, mass, 1.0).unsqueeze(1)
        return share.transpose(1, 2) @ features.float(), mass, assignments, weights


class OtherGate(PartialGraph):
    """A gate that prefers another slot by a little."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.gate.bias.data[3] += 1e-3


@pytest.mark.parametrize(
    ("broken", "shape"),
    [
        (ScalarDelta, "chunked"),
        (DriftingSum, "full"),
        (OtherGate, "full"),
        pytest.param(ScalarDelta, "full", marks=pytest.mark.matrix),
        pytest.param(OtherGate, "chunked", marks=pytest.mark.matrix),
    ],
)
def test_a_broken_graph_fails_and_leaves_nothing(
    broken: type[PartialGraph], shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "PartialGraph", broken)
    with pytest.raises(ParityError, match="deviate from torch by"):
        export_compressor(
            make_compressor(), tmp_path / "artefact", checkpoint_sha256="x", graph=shape
        )
    assert list(tmp_path.iterdir()) == []


def verify(model: SlotCompressor, run: Run, **limits: int) -> list[Any]:
    return Verifier(ExportSource(model, "x"), PRECISIONS["fp32"]).verify(run, "a test", **limits)


def runner(model: SlotCompressor, change: Callable[[dict[str, NDArray[Any]]], None]) -> Run:
    """The right outputs, changed."""

    def run(features: NDArray[Any], lengths: NDArray[np.int64], coords: None = None) -> Arrays:
        mask = torch.arange(features.shape[1]) < torch.from_numpy(lengths).unsqueeze(1)
        with torch.no_grad():
            output = model(torch.from_numpy(features), mask)
        outputs = {name: getattr(output, name).numpy() for name in OUTPUTS}
        change(outputs)
        return outputs

    return run


def test_a_second_slot_that_torch_did_not_choose_fails() -> None:
    def reroute(outputs: dict[str, NDArray[Any]]) -> None:
        first, second = outputs["assignments"][0, 0]
        outputs["assignments"][0, 0, 1] = next(k for k in range(6) if k not in (first, second))

    with pytest.raises(ParityError, match="other slots"):
        verify(make_compressor(), runner(make_compressor(), reroute))


def test_one_slot_twice_fails() -> None:
    def double(outputs: dict[str, NDArray[Any]]) -> None:
        outputs["assignments"][0, 0, 1] = outputs["assignments"][0, 0, 0]

    with pytest.raises(ParityError, match="fewer than 2 slots"):
        verify(make_compressor(), runner(make_compressor(), double))


def test_routed_padding_fails() -> None:
    def route(outputs: dict[str, NDArray[Any]]) -> None:
        outputs["assignments"][outputs["assignments"] < 0] = 0

    with pytest.raises(ParityError, match="padding is routed"):
        verify(make_compressor(), runner(make_compressor(), route))


def test_a_swap_of_two_equal_slots_passes() -> None:
    model = make_compressor()
    torch.nn.init.zeros_(model.router.gate.weight)
    torch.nn.init.zeros_(model.router.gate.bias)

    def swap(outputs: dict[str, NDArray[Any]]) -> None:
        outputs["assignments"] = np.where(
            outputs["assignments"] < 0, -1, outputs["assignments"][..., ::-1]
        )

    rows = verify(model, runner(model, swap))
    assert {row.routed_alike for row in rows} == {0.0}


@pytest.mark.parametrize("name", OUTPUTS)
def test_another_shape_fails(name: str) -> None:
    def cut(outputs: dict[str, NDArray[Any]]) -> None:
        outputs[name] = outputs[name][..., :-1]

    with pytest.raises(ParityError, match=f"{name} have shape"):
        verify(make_compressor(), runner(make_compressor(), cut))


@pytest.mark.parametrize("name", ["slots", "mass", "weights"])
def test_a_value_that_is_off_or_no_number_fails(name: str) -> None:
    for wrong in (0.01, np.nan):

        def spoil(outputs: dict[str, NDArray[Any]], wrong: float = wrong) -> None:
            outputs[name] = outputs[name] + np.float32(wrong)

        with pytest.raises(ParityError, match=f"{name} deviate from torch by"):
            verify(make_compressor(), runner(make_compressor(), spoil))


def test_limits_of_an_engine_leave_larger_cases_out() -> None:
    model = make_compressor()
    rows = verify(model, runner(model, lambda _: None), max_patches=10, max_batch=1)
    assert {(row.batch, row.num_patches) for row in rows} == {(1, 1), (1, 2), (1, 7)}


def test_the_cases_are_those_promised() -> None:
    made = list(cases([make_compressor()], large_bag=True))
    sizes = {(len(case.lengths), case.features.shape[1]) for case in made}
    assert {(b, n) for b in (1, 3) for n in (1, 2, 7, 1000, 20_000)} <= sizes
    promised = {"empty slots", "all-zero features", "large magnitudes", "ties", "large bag"}
    assert promised <= {case.name for case in made}
    assert any(len(set(case.lengths.tolist())) == 3 for case in made)


def test_a_sharp_gate_is_no_deviation(tmp_path: Path) -> None:
    """Of trained gates the logits are large, and float32 weights as inexact as they are."""
    model = make_compressor(feature_dim=256, num_slots=8)
    with torch.no_grad():
        model.router.gate.weight *= 40
    artefact = export_compressor(model, tmp_path / "artefact", checkpoint_sha256="0")
    assert {row.case for row in artefact.parity.rows} >= {"large magnitudes", "empty slots"}
    untied = [row for row in artefact.parity.rows if row.case != "ties"]
    assert all(row.routed_alike > 0.999 for row in untied)


def test_patches_that_hardly_count_are_not_lost_on_the_way(tmp_path: Path) -> None:
    model = make_compressor(salience=True)
    with torch.no_grad():
        model.router.salience.bias.fill_(-19.5)  # a salience of 7e-9, of which slots are means
    artefact = export_compressor(model, tmp_path / "artefact", checkpoint_sha256="0")
    assert artefact.parity.rows


def test_what_float32_itself_moves_by_at_large_magnitudes_is_allowed() -> None:
    model = make_compressor(feature_dim=64, num_slots=8, salience=True)
    with torch.no_grad():
        model.router.gate.weight.mul_(4)
        model.router.salience.weight.normal_(std=0.3)
    torch_model = TorchModel(Member(model, {}))
    features = np.random.default_rng(0).standard_normal((1, 500, 64), dtype=np.float32)
    exact = copy.deepcopy(model).double()
    for scale, least, most in ((1, 0.0, 1e-4), (100, 1e-3, 10.0)):
        bag = torch.from_numpy(scale * features)
        moved = (model.router.gate(bag) - exact.router.gate(bag.double())).abs().max()
        allowed = torch_model.rounding(scale * features)
        assert least < allowed < most
        assert allowed > float(moved.detach()) * float(bag.abs().max())
