"""Grades: the chain of steps, the median, and whole runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cohorts import small_run, write_labelled

from tcssa.errors import TableError
from tcssa.mil.cohort.cohort import read_cohort
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.settings import CohortSettings, MilSettings
from tcssa.mil.tasks import Ordinal, task_from_facts
from tcssa.mil.tasks.prediction import Prediction
from tcssa.mil.training.train import train
from tcssa.reporter import Silent
from tcssa.statistics.metrics import weighted_kappa

TASK = Ordinal(("0", "1", "2", "3"))


def grades(folder: Path, *, shuffled: bool = False) -> CohortSettings:
    """Thirty slides of four grades; the higher, the farther are the features."""
    true = [i % 4 for i in range(32)]
    stated = np.random.default_rng(1).permutation(true) if shuffled else true
    rows = [{"label": str(grade)} for grade in stated]
    cohort = write_labelled(folder, rows, [0.7 * grade for grade in true])
    return cohort.model_copy(update={"kind": "ordinal"})


def run_of(cohort: CohortSettings) -> MilSettings:
    return small_run(cohort, epochs=20)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grades")
    train(run_of(grades(folder)), folder / "run", Silent())
    return folder / "run"


def test_probabilities_are_products_of_the_steps() -> None:
    outputs = torch.tensor([0.5, -1.0, 2.0])
    go_on = outputs.double().sigmoid()
    expected = [
        1 - go_on[0],
        go_on[0] * (1 - go_on[1]),
        go_on[0] * go_on[1] * (1 - go_on[2]),
        go_on.prod(),
    ]
    assert TASK.values(outputs) == pytest.approx([float(p) for p in expected])
    assert len(TASK.outputs) == 3


def test_the_loss_is_the_likelihood_of_the_true_grade() -> None:
    outputs = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    slides = [
        Prediction(str(grade), "c", grade, TASK.values(row), truth=(float(grade),))
        for grade, row in enumerate(outputs)
    ]
    likelihoods = [row.probs[row.label] for row in slides]
    expected = -np.log(likelihoods).mean()
    assert float(TASK.loss(outputs, TASK.targets(slides))) == pytest.approx(expected)
    assert TASK.validation_loss(slides) == pytest.approx(expected)


def test_far_outputs_keep_the_loss_and_its_gradient_finite() -> None:
    outputs = torch.tensor([[200.0, -200.0, 200.0]], requires_grad=True)
    loss = TASK.loss(outputs, torch.tensor([3]))
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert float(loss.detach()) == pytest.approx(200)
    assert gradient.isfinite().all()


def test_the_predicted_grade_is_the_median_not_the_likeliest() -> None:
    probs = np.array([[0.4, 0.0, 0.25, 0.35], [0.1, 0.2, 0.3, 0.4], [0.9, 0.1, 0.0, 0.0]])
    assert TASK.decide(probs).tolist() == [2, 2, 0]
    labels = np.array([2, 3, 0])
    named = np.eye(4)[[2, 2, 0]]
    assert TASK.metrics["weighted_kappa"](labels, probs) == weighted_kappa(labels, named)
    assert TASK.metrics["mean_error"](labels, probs) == pytest.approx(1 / 3)


def test_grades_are_learnt_and_shuffled_grades_are_not(tmp_path: Path, run: Path) -> None:
    metrics = (run / "metrics.json").read_text()
    assert '"kind": "ordinal"' in metrics
    rows = (run / "predictions.csv").read_text().splitlines()
    assert rows[0] == "slide_id,case_id,label,predicted,fold,prob_0,prob_1,prob_2,prob_3"
    learnt = evaluate(run, Silent()).metrics["pooled"]
    assert learnt["weighted_kappa"]["value"] > 0.8
    assert learnt["mean_error"]["value"] < 0.5
    shuffled = train(run_of(grades(tmp_path, shuffled=True)), tmp_path / "run", Silent())
    assert shuffled.pooled["weighted_kappa"]["value"] < 0.4


def test_a_run_leaves_what_belongs_to_grades(run: Path) -> None:
    history = (run / "fold-0" / "history.csv").read_text()
    assert history.startswith("epoch,train_loss,val_loss,val_weighted_kappa,")
    page = (run / "report.html").read_text()
    assert "grades 0, 1, 2, 3 in this order" in page
    assert page.index("quadratic weighted kappa") < page.index("balanced accuracy")
    assert (run / "plots" / "confusion.png").exists()
    assert not (run / "plots" / "roc.png").exists()


def test_a_new_cohort_need_not_hold_every_grade(tmp_path: Path, run: Path) -> None:
    rows = [{"label": "3"}] * 4
    new = write_labelled(tmp_path, rows, [2.1] * 4, name="new")
    done = evaluate(run, Silent(), labels=new.labels, features=new.features)
    assert done.metrics["pooled"]["mean_error"]["value"] < 1
    assert done.metrics["task"]["classes"] == ["0", "1", "2", "3"]


def test_grades_without_a_known_order_are_refused(tmp_path: Path) -> None:
    rows = [{"label": label} for label in ["low", "high"] * 6]
    cohort = write_labelled(tmp_path, rows, [0.0] * 12).model_copy(update={"kind": "ordinal"})
    with pytest.raises(TableError, match="order of these grades is not known: high, low") as caught:
        read_cohort(cohort)
    assert "--class LOW --class HIGH" in str(caught.value.hint)
    named = cohort.model_copy(update={"classes": ["low", "high"]})
    assert read_cohort(named).task == Ordinal(("low", "high"))


def test_a_grade_outside_the_list_is_named_with_its_line(tmp_path: Path) -> None:
    rows = [{"label": label} for label in ["0", "1", "7", "2"]]
    cohort = write_labelled(tmp_path, rows, [0.0] * 4)
    listed = cohort.model_copy(update={"kind": "ordinal", "classes": ["0", "1", "2"]})
    with pytest.raises(TableError, match="line 4: label '7' is none of 0, 1, 2"):
        read_cohort(listed)


def test_facts_come_back_as_the_task() -> None:
    assert task_from_facts(TASK.facts()) == TASK
    with pytest.raises(ValueError, match="unknown kind of label 'colour'"):
        task_from_facts({"kind": "colour"})
    with pytest.raises(ValueError, match="classes: Field required"):
        task_from_facts({"kind": "ordinal"})
