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
from tcssa_exporters import export_model, open_source, verify
from tcssa_exporters.source import ExportSource, Member
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


@pytest.mark.parametrize("graph", ["full", "chunked"])
@torch.no_grad()
def test_members_stand_side_by_side_and_logits_are_their_mean(graph: str, tmp_path: Path) -> None:
    """With everything on that a member may have; places not in a chunked pair."""
    shape = {"feature_dim": 12, "embedded_from": 16, "salience": True, "nested": True}
    source = ensemble(**shape, spatial=True)
    if graph == "chunked":
        with pytest.raises(UsageError, match="a centre of its own"):
            export_model(source, tmp_path / "a", graph="chunked")
        source = ensemble(**shape)
    artefact = export_model(source, tmp_path / "a", graph=graph)  # type: ignore[arg-type]
    assert (artefact.members, artefact.num_slots, artefact.top_k) == (2, 12, 4)
    assert not artefact.salience
    assert not artefact.nested
    assert artefact == Artefact.read(tmp_path / "a")
    bag = np.random.default_rng(0).standard_normal((3000, 16), dtype=np.float32)
    coords = np.random.default_rng(1).uniform(0, 9000, (3000, 2))
    with open_runtime(tmp_path / "a") as runtime:
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


def test_half_precision_passes_parity(tmp_path: Path) -> None:
    artefact = export_model(ensemble(), tmp_path / "a", precision="fp16", graph="chunked")
    assert max(row.share_of_tolerance for row in artefact.parity.rows) <= 1
    ties = [row for row in artefact.parity.rows if row.case == "ties"]
    assert len(ties) == 2 * 2  # of each member, as it is and rounded


def test_a_member_that_is_another_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right, asked = verify.TorchModel, iter(range(2))

    def wrong(member: Member) -> verify.TorchModel:
        if next(asked) == 1:
            member = Member(make_compressor(seed=9), member.heads)
        return right(member)

    monkeypatch.setattr(verify, "TorchModel", wrong)
    with pytest.raises(ParityError):
        export_model(ensemble(), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


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
