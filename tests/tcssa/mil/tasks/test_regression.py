"""Numbers: their scale, the loss, and whole runs."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from cohorts import small_run, write_labelled

from tcssa.errors import SplitError, TableError, UsageError
from tcssa.mil.classifier.classifiers import load_classifier
from tcssa.mil.classifier.ensemble import Ensemble
from tcssa.mil.cohort.cohort import Cohort, read_cohort
from tcssa.mil.cohort.splits import make_folds
from tcssa.mil.comparison.compare import compare
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.methods import BagClassifier, BagsLogits
from tcssa.mil.results.prediction_tables import read_predictions, write_predictions
from tcssa.mil.settings import CohortSettings, MilSettings
from tcssa.mil.tasks import Regression, task_from_facts
from tcssa.mil.tasks.prediction import Prediction
from tcssa.mil.training.train import train
from tcssa.reporter import Silent
from tcssa.run import CHECKPOINT_FILE

TASK = Regression((90.0, 100.0, 120.0), mean=100.0, sd=20.0)


def labelled(values: Sequence[float], predicted: Sequence[float] = ()) -> list[Prediction]:
    """Slides with labels, and predictions of them."""
    given = predicted or [0.0] * len(values)
    return [
        Prediction(f"s{i}", f"p{i}", TASK.label_of((label,)), (value,), truth=(label,))
        for i, (label, value) in enumerate(zip(values, given, strict=True))
    ]


def scores_of(folder: Path, *, noise: bool = False) -> CohortSettings:
    """Forty slides; the farther the features, the larger the number, 300 to 400."""
    rng = np.random.default_rng(7)
    shifts = rng.permutation(np.linspace(0, 2, 40))
    stated = rng.permutation(shifts) if noise else shifts
    rows = [{"label": f"{300 + 50 * value:.3f}"} for value in stated]
    cohort = write_labelled(folder, rows, shifts.tolist())
    return cohort.model_copy(update={"kind": "regression"})


def run_of(cohort: CohortSettings, **train: object) -> MilSettings:
    settings = small_run(cohort, **{"epochs": 30, "batch_size": 4, **train})
    without = {"dropout": 0.0, "head_dropout": 0.0}
    return settings.model_copy(update={"model": settings.model.model_copy(update=without)})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numbers")
    train(run_of(scores_of(folder)), folder / "run", Silent())
    return folder / "run"


def test_a_fold_is_scaled_by_its_own_labels() -> None:
    fitted = TASK.fitted(labelled([1.0, 3.0, 5.0]))
    assert (fitted.mean, fitted.sd) == (3.0, pytest.approx(np.sqrt(8 / 3)))
    assert fitted.cuts == TASK.cuts
    assert fitted.targets(labelled([3.0, 5.0])).tolist() == pytest.approx([0, 2 / fitted.sd])
    assert fitted.values(torch.tensor([1.0])) == pytest.approx((3 + fitted.sd,))


def test_the_loss_is_square_near_the_truth_and_linear_far_from_it() -> None:
    slides = labelled([100.0, 100.0, 140.0], [110.0, 160.0, 140.0])
    outputs = torch.tensor([[0.5], [3.0], [2.0]])
    losses = TASK.losses(outputs, TASK.targets(slides))
    assert losses.tolist() == pytest.approx([0.125, 2.5, 0])
    assert TASK.validation_loss(slides) == pytest.approx(2.625 / 3)


@pytest.mark.parametrize("labels", [[0.1] * 7, [5.0]])
def test_a_training_part_of_one_label_is_refused(labels: list[float]) -> None:
    with pytest.raises(SplitError, match=f"all labels of a training part are {labels[0]:g}"):
        TASK.fitted(labelled(labels))


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_labels_beyond_computing_are_refused(size: float) -> None:
    with pytest.raises(SplitError, match="out of the range of numbers"):
        TASK.fitted(labelled([size, 2 * size]))


def test_folds_hold_the_same_share_of_every_quarter(tmp_path: Path) -> None:
    cohort = read_cohort(scores_of(tmp_path))
    for fold in make_folds(cohort.slides, cohort.task, 5, 0):
        assert [sum(s.label == i for s in fold.test) for i in range(4)] == [2, 2, 2, 2]
    few = Cohort(cohort.slides[:4], cohort.classes, 8, None, "", "", task=cohort.task)
    with pytest.raises(SplitError, match="the cohort has 4 patients, 5 folds need at least 5"):
        make_folds(few.slides, few.task, 5, 0)


def test_labels_that_are_mostly_one_number_can_be_divided() -> None:
    task = Regression.of_labels([0.0] * 15 + [1.0, 2.0, 3.0])
    assert task.cuts == (0.0,)
    assert [task.label_of((value,)) for value in (-1.0, 0.0, 3.0)] == [0, 1, 1]


def test_a_planted_signal_is_found_and_noise_is_not(tmp_path: Path, run: Path) -> None:
    pooled = json.loads((run / "metrics.json").read_text())["pooled"]
    assert pooled["r2"]["value"] > 0.8
    assert pooled["r2"]["low"] < pooled["r2"]["value"] < pooled["r2"]["high"]
    assert pooled["spearman"]["value"] > 0.9
    assert pooled["mean_absolute_error"]["value"] < 15
    cohort = scores_of(tmp_path, noise=True)
    noise = train(run_of(cohort, epochs=10, final="none"), tmp_path / "run", Silent())
    assert noise.pooled["r2"]["value"] < 0.3


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    data = scores_of(tmp_path)
    assert data.labels is not None
    header, *lines = data.labels.read_text().splitlines()
    one = read_cohort(data)
    data.labels.write_text("\n".join([header, *lines[7:], *lines[6::-1]]) + "\n")
    other = read_cohort(data)
    assert other.labels_sha256 != one.labels_sha256
    assert (other.slides, other.task) == (one.slides, one.task)
    folds = make_folds(one.slides, one.task, 5, 0)
    assert make_folds(other.slides, other.task, 5, 0) == folds
    fitted = [one.task.fitted(fold.train) for fold in folds]
    assert fitted == [other.task.fitted(fold.train) for fold in folds]


def test_a_run_leaves_what_belongs_to_numbers(tmp_path: Path, run: Path) -> None:
    rows = (run / "predictions.csv").read_text().splitlines()
    assert rows[0] == "slide_id,case_id,label,fold,predicted"
    label, _, predicted = map(float, rows[1].split(",")[2:])
    assert 300 <= label <= 400
    assert 250 < predicted < 450
    assert (run / "plots" / "scatter.png").exists()
    assert "R²" in (run / "report.html").read_text()
    assert (
        (run / "fold-0" / "history.csv").read_text().startswith("epoch,train_loss,val_loss,val_r2")
    )
    task = load_classifier(run / "fold-0" / CHECKPOINT_FILE).task
    assert isinstance(task, Regression)
    assert 300 < task.mean < 400


def test_a_run_is_evaluated_on_its_own_and_on_new_slides(tmp_path: Path, run: Path) -> None:
    own = evaluate(run, Silent(), out=tmp_path / "own")
    trained = json.loads((run / "metrics.json").read_text())["pooled"]
    assert own.metrics["pooled"] == trained
    new = write_labelled(tmp_path, [{"label": "350"}] * 4, [1.0] * 4, name="new")
    done = evaluate(run, Silent(), labels=new.labels, features=new.features, out=tmp_path / "new")
    assert done.metrics["pooled"]["mean_absolute_error"]["value"] < 25
    assert done.metrics["pooled"]["r2"]["value"] is None


def test_runs_are_compared_by_r2(tmp_path: Path, run: Path) -> None:
    cohort = CohortSettings(
        labels=run.parent / "labels.csv", features=run.parent / "features", kind="regression"
    )
    train(run_of(cohort, epochs=1, final="none"), tmp_path / "slow", Silent())
    found = compare([run, tmp_path / "slow"], None, Silent())
    assert found.metric == "r2"
    assert found.runs[1].difference is not None
    assert found.runs[1].difference["value"] < -0.3


class _Fixed(BagClassifier):
    """A method that gives the same output for every bag."""

    def __init__(self, output: float, task: Regression) -> None:
        super().__init__()
        self.output, self.task = output, task

    def forward(
        self, bags: Sequence[torch.Tensor], labels: torch.Tensor | None = None
    ) -> BagsLogits:
        """Return the output for each bag."""
        return BagsLogits(torch.full((len(bags), 1), self.output))


def test_an_ensemble_is_the_mean_in_the_unit_of_the_labels() -> None:
    members = [_Fixed(1.0, TASK), _Fixed(-1.0, Regression(TASK.cuts, mean=50.0, sd=10.0))]
    model = Ensemble(members)
    (logits,) = model([torch.zeros(3, 4)]).logits
    assert model.task.values(logits) == pytest.approx(((120 + 40) / 2,))


def test_a_table_of_predictions_comes_back(tmp_path: Path) -> None:
    rows = labelled([0.1, -3e7], [1 / 3, 2e-9])
    write_predictions(tmp_path / "predictions.csv", rows, TASK)
    assert read_predictions(tmp_path / "predictions.csv", TASK) == rows
    damaged = (tmp_path / "predictions.csv").read_text().replace("2e-09", "inf")
    (tmp_path / "predictions.csv").write_text(damaged)
    with pytest.raises(TableError, match="line 3: predicted inf is no finite number"):
        read_predictions(tmp_path / "predictions.csv", TASK)


def test_missing_words_are_missing_and_text_is_a_fault(tmp_path: Path) -> None:
    rows = [{"label": label} for label in ["1.5", "NA", "high", "2", "inf", "1e3"]]
    cohort = write_labelled(tmp_path, rows, [0.0] * 6).model_copy(update={"kind": "regression"})
    with pytest.raises(TableError) as caught:
        read_cohort(cohort)
    said = str(caught.value)
    assert "line 3: the label is missing ('NA')" in said
    assert "line 4: label 'high' is no number" in said
    assert "line 6: label inf is no finite number" in said
    assert cohort.labels is not None
    text = cohort.labels.read_text()
    cohort.labels.write_text(text.replace("high", "-7").replace("inf", "0"))
    found = read_cohort(cohort.model_copy(update={"skip_missing": True}))
    assert [slide.truth for slide in found.slides] == [(1.5,), (-7.0,), (2.0,), (0.0,), (1000.0,)]
    assert found.skipped == {"s01": "the label is missing ('NA')"}


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"classes": ["a", "b"]}, "--class has no meaning with --kind regression"),
        ({"label_names": {"1": "a"}}, r"names for labels \(label_names\) has no meaning"),
    ],
)
def test_settings_of_classes_are_refused(
    tmp_path: Path, update: dict[str, object], message: str
) -> None:
    cohort = write_labelled(tmp_path, [{"label": "1"}, {"label": "2"}], [0.0, 0.0])
    with pytest.raises(UsageError, match=message):
        read_cohort(cohort.model_copy(update={"kind": "regression", **update}))


def test_a_constant_label_is_refused(tmp_path: Path) -> None:
    cohort = write_labelled(tmp_path, [{"label": "1.0"}, {"label": "1"}], [0.0, 0.0])
    with pytest.raises(TableError, match="all slides have one label, 1"):
        read_cohort(cohort.model_copy(update={"kind": "regression"}))


def test_facts_come_back_as_the_task() -> None:
    assert task_from_facts(json.loads(json.dumps(TASK.facts()))) == TASK
    with pytest.raises(ValueError, match="sd: Input should be greater than 0"):
        task_from_facts({**TASK.facts(), "sd": 0.0})
    with pytest.raises(ValueError, match="do not rise"):
        task_from_facts({**TASK.facts(), "cuts": [2.0, 1.0]})
