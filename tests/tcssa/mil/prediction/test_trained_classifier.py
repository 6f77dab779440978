"""A run that classifies one slide at a time, as eval does."""

import csv
import math
from pathlib import Path

import pytest
from cohorts import small_run, write_cohort, write_labelled, write_survival
from factories import write_bag

import tcssa
from tcssa.errors import FeatureDimError, FeatureFileError, RunError, UsageError
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.mil.settings import CohortSettings
from tcssa.mil.training.train import train
from tcssa.reporter import Silent


def trained(cohort: CohortSettings, folder: Path, **settings: object) -> str:
    """Train a small run; return its directory as text."""
    train(small_run(cohort, epochs=2, **settings), folder / "run", Silent())
    return str(folder / "run")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("trained")
    return trained(write_cohort(folder), folder)


def test_a_slide_gets_the_probabilities_that_eval_gives_it(run: str, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path, 4, shift=2)
    assert cohort.features
    new = {"labels": cohort.labels, "features": cohort.features, "allow_overlap": True}
    done = evaluate(Path(run), Silent(), **new, out=tmp_path / "eval", device="cpu")
    with (done.folder / "predictions.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    classifier = tcssa.load_classifier(run, device="cpu")
    for row in rows:
        found = classifier.predict(str(cohort.features / f"{row['slide_id']}.h5"))
        assert found.slide_id == row["slide_id"]
        stated = {name: float(row[f"prob_{name}"]) for name in "ab"}
        assert found.probabilities == stated
        assert found.predicted == row["predicted"] == max(stated, key=stated.__getitem__)
        own = read_metrics(Path(run)).calibration["label"]
        assert found.at_threshold == ("b" if stated["b"] >= own.threshold else "a")
        log_odds, scaled = (math.log(p["b"] / p["a"]) for p in (stated, found.calibrated))
        assert scaled == pytest.approx(log_odds / own.temperature, abs=1e-6)


def test_a_path_and_an_open_bag_are_the_same_slide(run: str, tmp_path: Path) -> None:
    path = write_bag(tmp_path / "new.h5")
    classifier = tcssa.load_classifier(Path(run))
    with tcssa.open_bag(path) as bag:
        assert classifier.predict(bag) == classifier.predict(path)


def test_a_slide_that_was_trained_on_is_doubtful(run: str) -> None:
    reporter = Silent()
    features = Path(run).parent / "features"
    tcssa.load_classifier(run, reporter=reporter).predict(features / "s00.h5")
    assert "1 of 1 slide are of patients that the run was trained on" in reporter.warnings[0]


def test_features_that_do_not_fit_are_refused(run: str, tmp_path: Path) -> None:
    classifier = tcssa.load_classifier(run)
    with pytest.raises(FeatureDimError, match="D = 8, expected D = 16"):
        classifier.predict(write_bag(tmp_path / "narrow.h5", feature_dim=8))
    with pytest.raises(UsageError, match="trained on features of 'test_encoder'"):
        classifier.predict(write_bag(tmp_path / "other.h5", encoder="another"))
    with pytest.raises(FeatureFileError, match="holds no patches"):
        classifier.predict(write_bag(tmp_path / "empty.h5", num_patches=0))
    with pytest.raises(RunError):
        tcssa.load_classifier(str(tmp_path))


def test_features_of_an_unnamed_encoder_are_warned_of(run: str, tmp_path: Path) -> None:
    reporter = Silent()
    tcssa.load_classifier(run, reporter=reporter).predict(write_bag(tmp_path / "n.h5", encoder=""))
    assert "taken to be of test_encoder" in reporter.warnings[0]


def test_survival_is_the_risk(tmp_path: Path) -> None:
    cohort = write_survival(tmp_path)
    run = trained(cohort, tmp_path, folds=3)
    found = tcssa.load_classifier(run).predict(write_bag(tmp_path / "new.h5"))
    assert list(found.probabilities) == [f"survival_{k}" for k in range(1, 5)]
    assert list(found.decisions) == ["risk"]
    assert float(found.predicted) == float(found.decisions["risk"])


def test_several_targets_are_decided_one_by_one(tmp_path: Path) -> None:
    rows = [{"grade": "lh"[i % 2], "site": "xy"[i // 2 % 2]} for i in range(24)]
    cohort = write_labelled(tmp_path, rows, [i % 2 for i in range(24)])
    cohort = cohort.model_copy(update={"targets": ["grade", "site"]})
    run = trained(cohort, tmp_path, final="ensemble")
    found = tcssa.load_classifier(run).predict(write_bag(tmp_path / "new.h5"))
    assert list(found.decisions) == ["grade_predicted", "site_predicted"]
    assert found.probabilities["grade_prob_h"] + found.probabilities["grade_prob_l"] == (
        pytest.approx(1)
    )


def test_a_number_is_itself(tmp_path: Path) -> None:
    cohort = write_labelled(tmp_path, [{"label": f"{i}.5"} for i in range(18)], [0.1] * 18)
    run = trained(cohort.model_copy(update={"kind": "regression"}), tmp_path)
    found = tcssa.load_classifier(run).predict(write_bag(tmp_path / "new.h5"))
    (value,) = found.probabilities.values()
    assert float(found.predicted) == value
