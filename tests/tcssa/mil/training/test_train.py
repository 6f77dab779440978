"""Whole runs: what they find, what they leave, and that a kill does not change it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest
import torch
from cohorts import small_run, write_cohort
from factories import write_bag
from html_pages import read_page

from tcssa import load_compressor
from tcssa.errors import CheckpointError, DivergedError, RunError, UsageError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.cohort.cohort import read_cohort
from tcssa.mil.cohort.splits import Fold
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.results.history import SlotUse
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.mil.settings import CohortSettings, MilSettings, ModelSettings, SplitSettings
from tcssa.mil.training.fit import FoldFit
from tcssa.mil.training.train import train
from tcssa.reporter import Silent
from tcssa.run import read_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[MilSettings, Path]:
    """One finished run that several tests look at."""
    folder = tmp_path_factory.mktemp("cohort")
    settings = small_run(write_cohort(folder))
    train(settings, folder / "run", Silent())
    return settings, folder / "run"


def results(folder: Path) -> dict[str, bytes]:
    """Everything a run computed, byte for byte; plots are drawn from it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in ("**/*.csv", "**/*.safetensors", "**/metrics.json")
        for path in folder.glob(pattern)
    }


def test_a_signal_is_found_and_noise_is_not(tmp_path: Path, run: tuple[MilSettings, Path]) -> None:
    assert read_metrics(run[1]).pooled["auc"]["value"] > 0.95
    noise = small_run(write_cohort(tmp_path, num_slides=30, shift=0.0))
    auc = train(noise, tmp_path / "run", Silent()).pooled["auc"]
    # nothing was chosen on test, so noise stays noise
    assert auc["low"] < 0.5
    assert auc["value"] < 0.75


def test_every_slide_is_tested_once(run: tuple[MilSettings, Path]) -> None:
    rows = (run[1] / "predictions.csv").read_text().splitlines()
    assert rows[0] == "slide_id,case_id,label,predicted,fold,prob_a,prob_b"
    assert sorted(row.split(",")[0] for row in rows[1:]) == [f"s{i:02d}" for i in range(18)]


def test_the_run_directory_has_what_it_promises(run: tuple[MilSettings, Path]) -> None:
    folder = run[1]
    content = read_run(folder)
    assert content["complete"]
    assert content["cohort"]["feature_dim"] == 16
    assert content["cohort"]["encoder"] == "test_encoder"
    for name in ("roc", "confusion", "training", "utilisation"):
        assert (folder / "plots" / f"{name}.png").stat().st_size > 5000
    history = (folder / "fold-0" / "history.csv").read_text().splitlines()
    assert history[0].startswith("epoch,train_loss,val_loss,val_auc,aux_excess,effective_slots")
    shares = (folder / "fold-0" / "utilisation.csv").read_text().splitlines()[1].split(",")
    assert sum(map(float, shares[1:])) == pytest.approx(1)
    assert not list(folder.glob("**/progress.pt"))


def test_the_report_needs_no_other_file_and_says_what_was_found(
    run: tuple[MilSettings, Path],
) -> None:
    _, out = run
    read_page(out / "report.html")
    page = (out / "report.html").read_text()
    auc = read_metrics(out).pooled["auc"]
    assert f"{auc['value']:.3f}" in page
    assert f"{auc['low']:.3f} – {auc['high']:.3f}" in page
    assert page.count('src="data:image/png;base64,') == 4
    assert "://" not in page
    assert "tcssa inspect slots RUN" in page
    assert read_run(out)["checkpoint_sha256"] in page
    assert "num_slots: 4" in page


def test_the_selected_fold_has_the_lowest_validation_loss(
    run: tuple[MilSettings, Path], tmp_path: Path
) -> None:
    settings = small_run(run[0].cohort, final="none", epochs=2)
    folds = train(settings, tmp_path / "run", Silent()).folds
    best = min(folds, key=lambda fold: fold.val_loss).fold
    assert read_run(tmp_path / "run")["selected"] == f"fold-{best}"
    chosen = load_compressor(tmp_path / "run")
    fold = load_compressor(tmp_path / "run" / f"fold-{best}")
    assert chosen.state_dict()["experts.w_in"].equal(fold.state_dict()["experts.w_in"])


def test_a_second_call_does_nothing(run: tuple[MilSettings, Path]) -> None:
    settings, folder = run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    metrics = train(settings, folder, Silent())
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert after == before
    assert metrics == read_metrics(folder)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, run: tuple[MilSettings, Path]) -> None:
    settings, folder = run
    train(settings, tmp_path / "again", Silent())
    assert results(tmp_path / "again") == results(folder)


def test_other_settings_in_the_same_directory_are_refused(run: tuple[MilSettings, Path]) -> None:
    settings, folder = run
    other = small_run(settings.cohort, lr=0.5)
    with pytest.raises(RunError, match=r"train\.lr was 0\.01, now 0\.5"):
        train(other, folder, Silent())
    faster = small_run(settings.cohort, device="cpu", checkpoint_every_s=1)
    assert train(faster, folder, Silent())  # where it runs does not define the run


def test_a_changed_cohort_is_refused(tmp_path: Path) -> None:
    settings = small_run(write_cohort(tmp_path), epochs=1)
    train(settings, tmp_path / "run", Silent())
    # as many patches as before, and other values
    write_bag(tmp_path / "features" / "s03.h5", 23, seed=77)
    with pytest.raises(RunError, match="features_hash was"):
        train(settings, tmp_path / "run", Silent())


def test_a_cohort_that_moved_is_the_same(tmp_path: Path) -> None:
    settings = small_run(write_cohort(tmp_path / "here"), epochs=1)
    metrics = train(settings, tmp_path / "run", Silent())
    (tmp_path / "here").rename(tmp_path / "there")
    moved = CohortSettings(
        labels=tmp_path / "there" / "labels.csv", features=tmp_path / "there" / "features"
    )
    assert train(small_run(moved, epochs=1), tmp_path / "run", Silent()) == metrics


def test_unstated_patients_are_warned_of(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    assert cohort.labels is not None
    rows = [row.split(",", 1)[1] for row in cohort.labels.read_text().splitlines()]
    cohort.labels.write_text("\n".join(rows) + "\n")
    reporter = Silent()
    train(small_run(cohort, epochs=1), tmp_path / "run", reporter)
    assert any("no patient for 18 slides" in text for text in reporter.warnings)


def test_a_diverging_training_says_so(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="fold 0 diverged in epoch") as caught:
        train(small_run(write_cohort(tmp_path), lr=1e30), tmp_path / "run", Silent())
    assert "--lr" in str(caught.value.hint)


@pytest.mark.parametrize("kills", [2])
def test_kill_9_in_training_ends_with_the_same_bytes(tmp_path: Path, kills: int) -> None:
    settings = small_run(write_cohort(tmp_path), epochs=6, patience=10, checkpoint_every_s=0.0)
    train(settings, tmp_path / "undisturbed", Silent())
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    script = (
        "import sys, pathlib\n"
        "from tcssa.mil.settings import CohortSettings, MilSettings\n"
        "from tcssa.mil.training.train import train\n"
        "from tcssa.reporter import Silent\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "settings = MilSettings.model_validate_json((folder / 'settings.json').read_text())\n"
        "train(settings, folder / 'killed', Silent())\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    for kill in range(kills):
        process = subprocess.Popen(command)
        # let it get to its first checkpoint, at another fold each time, and a little further
        waited_for = tmp_path / "killed" / f"fold-{kill}" / "progress.pt"
        deadline = time.monotonic() + 60
        while not waited_for.exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.002)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not json.loads((tmp_path / "killed" / "run.json").read_text())["complete"]
    subprocess.run(command, check=True)
    assert results(tmp_path / "killed") == results(tmp_path / "undisturbed")
    assert not list((tmp_path / "killed").rglob("*.tcssa-tmp"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        3,
        {},
        {"model": {}, "optimiser": {}, "epochs": [], "best_epoch": -1, "best_state": {}},
        {"model": {"head.out.weight": torch.ones(3)}, "best_state": {}},
    ],
    ids=["empty", "text", "number", "nothing", "no model", "another model"],
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: object) -> None:
    path = tmp_path / "run" / "fold-0" / "progress.pt"
    path.parent.mkdir(parents=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"fold-0/progress\.pt") as caught:
        train(small_run(write_cohort(tmp_path), epochs=1), tmp_path / "run", Silent())
    assert len(str(caught.value).splitlines()) == 1


def test_collapsed_slots_are_warned_of(tmp_path: Path) -> None:
    # all patches alike: whatever the gate is, they go to the same two of eight slots
    cohort = write_cohort(tmp_path)
    assert cohort.features is not None
    for path in cohort.features.iterdir():
        with h5py.File(path, "r+") as file:
            file["features"][:] = 1
    settings = small_run(cohort, epochs=1)
    model = settings.model.model_copy(update={"num_slots": 8, "noise_std": 0.0})
    reporter = Silent()
    train(settings.model_copy(update={"model": model}), tmp_path / "run", reporter)
    assert any("the slots collapsed: 2.0 of 8 slots" in text for text in reporter.warnings)


def test_slots_in_use_are_not_called_collapsed() -> None:
    use = SlotUse(
        aux_excess=0, effective_slots=3.2, largest_share=0.4, unused_slots=0,
        utilisation=[1 / 32] * 32,
    )  # fmt: skip
    assert use.collapse(top_k=2) is None
    assert use.model_copy(update={"effective_slots": 2.4}).collapse(top_k=2) is not None
    few = use.model_copy(update={"effective_slots": 2.4, "utilisation": [0.25] * 4})
    assert few.collapse(top_k=2) is None


def test_bf16_trains(tmp_path: Path) -> None:
    settings = small_run(write_cohort(tmp_path), precision="bf16")
    assert train(settings, tmp_path / "run", Silent()).pooled["auc"]["value"] > 0.9


@pytest.mark.parametrize("name", ["abmil", "clam_mb"])
def test_another_method_trains_and_is_evaluated(name: str, tmp_path: Path) -> None:
    settings = small_run(write_cohort(tmp_path), epochs=4, lr=1e-3)
    settings = settings.model_copy(update={"model": ModelSettings(name=name)})
    metrics = train(settings, tmp_path / "run", Silent())
    assert metrics.pooled["auc"]["value"] > 0.9
    assert metrics.folds[0].effective_slots is None
    assert not (tmp_path / "run" / "plots" / "utilisation.png").exists()
    again = evaluate(tmp_path / "run", Silent())
    assert again.metrics["pooled"]["auc"] == metrics.pooled["auc"]
    with pytest.raises(CheckpointError, match=f"is of --model {name}, which has no compressor"):
        load_compressor(tmp_path / "run")


def test_a_mistyped_method_leaves_no_run_behind(tmp_path: Path) -> None:
    settings = small_run(write_cohort(tmp_path))
    mistyped = settings.model_copy(update={"model": ModelSettings(name="abmli")})
    with pytest.raises(UsageError, match="unknown model 'abmli'"):
        train(mistyped, tmp_path / "run", Silent())
    assert not (tmp_path / "run").exists()


def test_a_folder_of_predictions_does_not_become_a_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "prediction.json").touch()
    with pytest.raises(UsageError, match="holds what tcssa predict wrote"):
        train(small_run(write_cohort(tmp_path)), tmp_path / "run", Silent())


def test_repeats_and_official_splits_train_and_are_evaluated_alike(tmp_path: Path) -> None:
    settings = small_run(write_cohort(tmp_path), epochs=3)
    twice = settings.model_copy(update={"split": SplitSettings(repeats=2)})
    metrics = train(twice, tmp_path / "twice", Silent())
    assert metrics.pooled["num_slides"] == 18
    assert metrics.pooled["num_predictions"] == 36
    assert len(metrics.folds) == 6
    assert evaluate(tmp_path / "twice", Silent()).metrics["pooled"] == metrics.pooled
    # a run's own table of folds, one slide less, as official splits
    rows = (tmp_path / "twice" / "splits.csv").read_text().splitlines()
    (tmp_path / "given.csv").write_text("\n".join(r for r in rows if not r.startswith("s07,")))
    given = settings.model_copy(update={"split": SplitSettings(files=tmp_path / "given.csv")})
    reporter = Silent()
    metrics = train(given, tmp_path / "given", reporter)
    assert any("1 labelled slide in no fold" in text for text in reporter.warnings)
    assert read_run(tmp_path / "given")["unused"] == ["s07"]
    assert metrics.pooled["num_slides"] == 17
    assert evaluate(tmp_path / "given", Silent()).metrics["pooled"] == metrics.pooled


def test_balanced_sampling_draws_classes_alike(tmp_path: Path) -> None:
    cohort = read_cohort(write_cohort(tmp_path, num_slides=60))
    rare = [slide for slide in cohort.slides if slide.label == 1][:5]
    common = [slide for slide in cohort.slides if slide.label == 0]
    settings = small_run(CohortSettings(), balanced_sampling=True)
    fold = Fold(train=[*common, *rare], val=[], test=[])
    fit = FoldFit(cohort, fold, 0, settings, tmp_path, BagStore(0))
    drawn = [fold.train[i].label for _ in range(20) for i in fit._order()]
    assert len(drawn) == 20 * 35
    assert 0.4 < sum(drawn) / len(drawn) < 0.6
