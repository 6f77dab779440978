"""Scoring a run again, and on slides it has never seen."""

import shutil
from pathlib import Path

import pytest
from cohorts import small_run, write_cohort
from factories import write_bag
from html_pages import read_page

from tcssa.errors import FeatureDimError, RunError, SplitError, UsageError
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.mil.results.prediction_tables import read_predictions
from tcssa.mil.settings import CohortSettings
from tcssa.mil.training.train import train
from tcssa.reporter import Silent
from tcssa.run import read_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(small_run(write_cohort(folder)), folder / "run", Silent())
    return folder / "run"


def new_cohort(folder: Path, case: str = "new", feature_dim: int = 16) -> tuple[Path, Path]:
    rows = ["case_id,slide_id,label"]
    for i in range(10):
        name = f"n{i}"
        write_bag(
            folder / "f" / f"{name}.h5",
            25,
            feature_dim=feature_dim,
            seed=100 + i,
            shift=0.6 * (i % 2),
        )
        rows.append(f"{case}{i:02d},{name},{'ab'[i % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder / "labels.csv", folder / "f"


def test_the_own_test_slides_score_as_they_did_in_training(run: Path) -> None:
    done = evaluate(run, Silent())
    assert done.metrics["pooled"] == read_metrics(run).pooled
    assert (done.folder / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
    assert (done.folder / "roc.png").exists()


def test_a_new_cohort_is_predicted_by_all_folds(run: Path, tmp_path: Path) -> None:
    labels, features = new_cohort(tmp_path)
    done = evaluate(run, Silent(), labels=labels, features=features, out=tmp_path / "out")
    assert done.folder == tmp_path / "out"
    assert done.metrics["pooled"]["auc"]["value"] > 0.9
    assert done.metrics["pooled"]["num_slides"] == 10


def test_new_slides_are_read_at_the_threshold_of_the_run(run: Path, tmp_path: Path) -> None:
    labels, features = new_cohort(tmp_path)
    done = evaluate(run, Silent(), labels=labels, features=features, out=tmp_path / "out")
    threshold = read_metrics(run).calibration["label"].threshold
    assert threshold is not None
    rows = read_predictions(tmp_path / "out" / "predictions.csv", done.task)
    found = [row.probs[1] >= threshold for row in rows if row.label == 1]
    at = done.metrics["pooled"]["at_threshold"]
    assert at["sensitivity"]["value"] == sum(found) / len(found)
    page = read_page(tmp_path / "out" / "report.html")
    assert any(cells[0] == "b at threshold" for cells in page.cells)
    assert any(cells[0] == "calibration error" for cells in page.cells)


def test_the_page_of_the_own_slides_shows_their_figures(run: Path) -> None:
    done = evaluate(run, Silent())
    page = read_page(done.folder / "report.html")
    auc = done.metrics["pooled"]["auc"]
    interval = f"{auc['low']:.3f} – {auc['high']:.3f}"
    assert ["AUC", f"{auc['value']:.3f}", interval] in page.cells
    assert "Each was predicted by the fold that did not know its patient" in page.text
    assert len(page.attributes("img")) == 2
    assert read_run(run)["checkpoint_sha256"] in page.text


def test_the_page_of_new_slides_shows_the_run_s_own_beside_them(run: Path, tmp_path: Path) -> None:
    labels, features = new_cohort(tmp_path, case="p")
    (features / "n9.h5").unlink()
    done = evaluate(
        run, Silent(), labels=labels, features=features, out=tmp_path / "out",
        allow_overlap=True, skip_missing=True,
    )  # fmt: skip
    page = read_page(done.folder / "report.html")
    both = (done.metrics["pooled"], read_metrics(run).pooled)
    ours, own = (pooled["auc"]["value"] for pooled in both)
    (row,) = (cells for cells in page.cells if cells[0] == "AUC")
    assert (row[1], row[3]) == (f"{ours:.3f}", f"{own:.3f}")
    assert "They were predicted by the run's final model" in page.text
    assert "trained on 9 patients of this cohort" in page.text
    assert "n9" in page.text
    assert str(labels) in page.text


def test_patients_that_were_trained_on_are_named(run: Path, tmp_path: Path) -> None:
    labels, features = new_cohort(tmp_path, case="p")
    with pytest.raises(SplitError, match="trained on 10 patients of this cohort: p00, p01"):
        evaluate(run, Silent(), labels=labels, features=features, out=tmp_path / "out")
    reporter = Silent()
    evaluate(
        run, reporter, labels=labels, features=features, out=tmp_path / "out", allow_overlap=True
    )
    assert any("the figures are no test" in text for text in reporter.warnings)


def test_slides_that_were_trained_on_are_named_whoever_their_patient(
    run: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("slide_id,label\ns00,a\ns01,b\n")
    with pytest.raises(SplitError, match="trained on 2 patients of this cohort"):
        evaluate(run, Silent(), labels=labels, features=run.parent / "features")


def test_a_cohort_of_one_class_is_scored_without_an_auc(run: Path, tmp_path: Path) -> None:
    labels, features = new_cohort(tmp_path)
    rows = [row for row in labels.read_text().splitlines() if not row.endswith(",b")]
    labels.write_text("\n".join(rows))
    done = evaluate(run, Silent(), labels=labels, features=features, out=tmp_path / "out")
    assert done.metrics["pooled"]["auc"]["value"] is None
    assert done.metrics["pooled"]["accuracy"]["value"] is not None


def test_a_run_is_scored_from_any_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    cohort = CohortSettings(labels=Path("labels.csv"), features=Path("features"))
    train(small_run(cohort), tmp_path / "relative", Silent())
    monkeypatch.chdir(tmp_path)
    assert evaluate(tmp_path / "relative", Silent()).metrics["pooled"]["num_slides"] == 18


def test_features_of_another_length_are_refused(run: Path, tmp_path: Path) -> None:
    labels, features = new_cohort(tmp_path, feature_dim=12)
    with pytest.raises(FeatureDimError, match="D = 12, expected D = 16"):
        evaluate(run, Silent(), labels=labels, features=features)


def test_labels_alone_are_not_a_cohort(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both --labels and --features"):
        evaluate(run, Silent(), labels=tmp_path / "labels.csv")


def test_features_alone_are_the_run_s_own_that_moved(run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(run.parent / "features", moved)
    done = evaluate(run, Silent(), features=moved, out=tmp_path / "out")
    assert done.metrics["pooled"] == read_metrics(run).pooled
    write_bag(moved / "s03.h5", 23, seed=77)
    with pytest.raises(RunError, match="not the ones it was trained on"):
        evaluate(run, Silent(), features=moved, out=tmp_path / "out")


def test_a_second_grid_in_the_same_job_changes_nothing(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    grid, job = Path("20x_224px_0px_overlap") / "features_test_encoder", tmp_path / "job"
    shutil.move(tmp_path / "features", job / grid)
    settings = small_run(cohort.model_copy(update={"features": job}), epochs=2)
    train(settings, tmp_path / "run", Silent())
    write_bag(job / "10x_224px_0px_overlap" / "features_test_encoder" / "s00.h5")
    done = evaluate(tmp_path / "run", Silent(), out=tmp_path / "out")
    assert done.metrics["pooled"] == read_metrics(tmp_path / "run").pooled
    assert train(settings, tmp_path / "run", Silent()) == read_metrics(tmp_path / "run")
    with pytest.raises(UsageError, match="several sets of features"):
        train(settings, tmp_path / "another", Silent())


def test_an_unfinished_or_foreign_folder_is_no_run(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run directory"):
        evaluate(tmp_path, Silent())
    (tmp_path / "run.json").write_text((run / "run.json").read_text().replace("true", "false"))
    with pytest.raises(RunError, match="no finished run"):
        evaluate(tmp_path, Silent())
