"""An ensemble as one model: its graphs, their comparison with torch, and where it comes from."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from cohorts import small_run, write_cohort
from factories import make_compressor

from tcssa import SlotCompressor
from tcssa.artefact import Artefact
from tcssa.errors import CheckpointError, ParityError, UsageError
from tcssa.mil.classifier.slide_classifier import ClassifierConfig, SlideClassifier, SlideHead
from tcssa.mil.training.train import train
from tcssa.reporter import Silent
from tcssa.run import CHECKPOINT_FILE
from tcssa_exporters import export_model, open_source
from tcssa_exporters.precision import PRECISIONS
from tcssa_exporters.runners import full_run, onnx_call
from tcssa_exporters.source import ExportSource, Member
from tcssa_exporters.verify import Verifier
from tcssa_runtimes import open_runtime


def ensemble(**shape: object) -> ExportSource:
    """Two classifiers with random weights as one source."""
    members = []
    for seed in range(2):
        compressor = make_compressor(seed=seed, **shape)  # type: ignore[arg-type]  # one by one
        config = ClassifierConfig(classes=["a", "b"], head_dim=8, pool="mass")
        head = SlideHead(compressor.config.feature_dim, config).eval()
        members.append(Member(compressor, {"logits": head}))
    return ExportSource(
        members[0].compressor,
        "x",
        what="classifier",
        heads=members[0].heads,
        classes=["a", "b"],
        others=tuple(members[1:]),
    )


def classifier(member: Member) -> SlideClassifier:
    compressor = member.compressor
    model = SlideClassifier(compressor, ClassifierConfig(classes=["a", "b"], head_dim=8))
    model.head = member.heads["logits"]  # type: ignore[assignment]  # it is one
    return model.eval()


def source_of(graph: str) -> ExportSource:
    """An ensemble with everything on that a member may have; places not in a chunked pair."""
    shape = {"feature_dim": 12, "embedded_from": 16, "salience": True, "nested": True}
    return ensemble(**shape, spatial=graph == "full")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The artefact of `source_of` of each graph."""
    folders = {}
    for graph in ("full", "chunked"):
        folders[graph] = tmp_path_factory.mktemp("ensemble") / "artefact"
        export_model(source_of(graph), folders[graph], graph=graph)  # type: ignore[arg-type]
    return folders


@pytest.mark.parametrize("graph", ["full", "chunked"])
@torch.no_grad()
def test_members_stand_side_by_side_and_logits_are_their_mean(
    graph: str, exports: dict[str, Path]
) -> None:
    source, artefact = source_of(graph), Artefact.read(exports[graph])
    assert (artefact.members, artefact.num_slots, artefact.top_k) == (2, 12, 4)
    assert not artefact.salience
    assert not artefact.nested
    bag = np.random.default_rng(0).standard_normal((3000, 16), dtype=np.float32)
    coords = np.random.default_rng(1).uniform(0, 9000, (3000, 2))
    with open_runtime(exports[graph]) as runtime:
        found = runtime.encode(bag, coords, 1.0)
    expected = [
        classifier(member)([torch.from_numpy(bag)], None, [torch.from_numpy(coords)]).logits[0]
        for member in source.members
    ]
    torch.testing.assert_close(
        torch.tensor(found.logits), torch.stack(expected).mean(0), atol=2e-5, rtol=0
    )
    slots = [
        member.compressor(torch.from_numpy(bag), coords=torch.from_numpy(coords)).slots
        for member in source.members
    ]
    torch.testing.assert_close(torch.tensor(found.slots), torch.cat(slots), atol=2e-4, rtol=0)


def test_places_in_a_chunked_pair_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a centre of its own"):
        export_model(source_of("full"), tmp_path / "a", graph="chunked")


def test_half_precision_passes_parity(tmp_path: Path) -> None:
    artefact = export_model(ensemble(), tmp_path / "a", precision="fp16", graph="chunked")
    assert max(row.share_of_tolerance for row in artefact.parity.rows) <= 1
    ties = [row for row in artefact.parity.rows if row.case == "ties"]
    assert len(ties) == 2 * 2  # of each member, as it is and rounded


def test_a_member_that_is_another_fails(exports: dict[str, Path]) -> None:
    source, run = source_of("full"), full_run(onnx_call(exports["full"] / "model.onnx"))
    assert Verifier(source, PRECISIONS["fp32"]).verify(run, "the right members")
    (second,) = source.others
    torch.nn.init.normal_(second.compressor.router.gate.weight)
    with pytest.raises(ParityError):
        Verifier(source, PRECISIONS["fp32"]).verify(run, "another")


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed"
)
def test_an_ensemble_is_one_engine(tmp_path: Path) -> None:
    artefact = export_model(
        ensemble(salience=True), tmp_path / "a", format="trt-rtx", targets=["sm89"]
    )
    assert artefact.members == 2
    assert [file.name for file in (tmp_path / "a").glob("*.plan")] == ["model.plan"]
    assert artefact.parity.status.startswith("not yet run on a GPU")


def test_a_run_of_folds_is_an_ensemble_and_its_compressor_that_of_the_best(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(small_run(write_cohort(tmp_path), final="ensemble", epochs=1), run, Silent())
    source = open_source(run, "classifier")
    assert len(source.members) == 3
    assert "the mean of 3 folds" in str(source.taken)
    assert len(open_source(run / "fold-1", "classifier").members) == 1
    of_best = open_source(run)
    assert isinstance(of_best.compressor, SlotCompressor)
    assert "has no final model: this is the compressor of fold-" in str(of_best.taken)
    other = make_compressor(num_slots=5)
    SlideClassifier(other, ClassifierConfig(classes=["a", "b"])).save(
        run / "fold-2" / CHECKPOINT_FILE
    )
    with pytest.raises(CheckpointError, match="do not fit"):
        open_source(run, "classifier")
