"""The final model: trained on all patients, as long as the folds were; the run stands for it."""

from pathlib import Path
from statistics import median

import pytest
import torch
from cohorts import small_run, write_cohort

from tcssa import load_compressor
from tcssa.errors import RunError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.classifiers import load_classifier
from tcssa.mil.classifier.final_model import fold_checkpoints, load_final
from tcssa.mil.cohort.cohort import read_cohort
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.evidence import Reference
from tcssa.mil.results.finished import read_finished
from tcssa.mil.results.history import Epoch
from tcssa.mil.results.metrics_file import FinalModel, read_metrics
from tcssa.mil.settings import MilSettings
from tcssa.mil.training.final import FinalFit
from tcssa.mil.training.train import train
from tcssa.reporter import Silent
from tcssa.run import CHECKPOINT_FILE, read_run, selected_checkpoint


def changed(settings: MilSettings, **values: object) -> MilSettings:
    """Return settings with other values of ``train``."""
    return settings.model_copy(update={"train": settings.train.model_copy(update=values)})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[MilSettings, Path]:
    """One finished run with its final model."""
    folder = tmp_path_factory.mktemp("cohort")
    settings = small_run(write_cohort(folder))
    train(settings, folder / "run", Silent())
    return settings, folder / "run"


def test_it_learns_from_all_slides_for_the_median_of_the_folds_epochs(
    run: tuple[MilSettings, Path],
) -> None:
    metrics = read_metrics(run[1])
    epochs = median(fold.best_epoch + 1 for fold in metrics.folds)
    assert metrics.final == FinalModel(epochs=round(epochs), num_slides=18, num_cases=18)
    history = (run[1] / "final" / "history.csv").read_text().splitlines()
    assert len(history) == 1 + round(epochs)


def test_the_run_stands_for_it(run: tuple[MilSettings, Path]) -> None:
    assert read_run(run[1])["selected"] == "final"
    chosen = selected_checkpoint(run[1])
    assert chosen == run[1] / "final" / CHECKPOINT_FILE
    of_run, of_final = load_compressor(run[1]), load_compressor(chosen)
    assert torch.equal(of_run.router.gate.weight, of_final.router.gate.weight)
    folds = fold_checkpoints(read_finished(run[1]))
    weights = [load_classifier(path).state_dict()["head.out.weight"] for path in folds]
    final = load_classifier(chosen).state_dict()["head.out.weight"]
    assert not any(torch.equal(final, weight) for weight in weights)


def test_a_final_model_cut_short_ends_with_the_same_bytes(
    run: tuple[MilSettings, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = changed(run[0], checkpoint_every_s=0.0)

    remember, folder = FinalFit._remember, tmp_path / "run"

    def stop(self: FinalFit, epoch: Epoch) -> None:
        if len(self.progress.epochs) == 1:
            raise KeyboardInterrupt
        remember(self, epoch)

    monkeypatch.setattr(FinalFit, "_remember", stop)
    with pytest.raises(KeyboardInterrupt):
        train(settings, folder, Silent())
    monkeypatch.undo()
    assert (folder / "final" / "progress.pt").exists()
    train(settings, folder, Silent())
    name = Path("final") / CHECKPOINT_FILE
    assert (folder / name).read_bytes() == (run[1] / name).read_bytes()
    assert not list(folder.glob("**/progress.pt"))


def test_the_folds_can_be_the_final_model(tmp_path: Path) -> None:
    settings = changed(small_run(write_cohort(tmp_path)), final="ensemble", epochs=2)
    train(settings, tmp_path / "run", Silent())
    finished = read_finished(tmp_path / "run")
    assert not (tmp_path / "run" / "final").exists()
    bag = torch.randn(9, 16, generator=torch.Generator().manual_seed(0))
    folds = [load_classifier(path)([bag]).logits for path in fold_checkpoints(finished)]
    final = load_final(finished)
    assert torch.allclose(final([bag]).logits, torch.stack(folds).mean(0))
    cohort = read_cohort(settings.cohort).slides
    measured = Reference.of(final, cohort, BagStore(0), torch.device("cpu"), Silent())
    stored = Reference.read(finished.folder, finished.task)
    assert stored is not None
    assert stored.sums == pytest.approx(measured.sums, abs=1e-5)


def test_only_the_final_weights_stay_if_asked(tmp_path: Path) -> None:
    settings = changed(small_run(write_cohort(tmp_path)), keep="final", epochs=2)
    train(settings, tmp_path / "run", Silent())
    kept = sorted((tmp_path / "run").glob("*/*.safetensors"))
    assert [path.parent.name for path in kept] == ["final"]
    with pytest.raises(RunError, match="kept the weights of its final model only"):
        evaluate(tmp_path / "run", Silent())
    again = train(settings, tmp_path / "run", Silent())
    assert again == read_metrics(tmp_path / "run")


def test_folds_that_are_the_final_model_cannot_be_removed() -> None:
    with pytest.raises(ValueError, match="keep final removes the folds"):
        MilSettings.model_validate({"train": {"final": "ensemble", "keep": "final"}})


def test_runs_of_before_have_none() -> None:
    assert MilSettings.completed({"recipe": "salient"})["train"]["final"] == "none"
