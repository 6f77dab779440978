"""Several targets: what is unknown counts for nothing, and each target has its own figures."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from cohorts import small_run, write_labelled

from tcssa.errors import RunError, SplitError, TableError, UsageError
from tcssa.mil.cohort.cohort import Cohort, read_cohort
from tcssa.mil.comparison.compare import compare
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.mil.results.prediction_tables import read_predictions, write_predictions
from tcssa.mil.settings import CohortSettings, MilSettings
from tcssa.mil.tasks import Classes, Ordinal, Regression, Several, task_from_facts
from tcssa.mil.tasks.prediction import Prediction
from tcssa.mil.training.train import train
from tcssa.reporter import Silent

TASK = Several({"ER": Classes(("neg", "pos")), "grade": Classes(("1", "2", "3"))})


def test_models_agree_on_each_target_by_itself() -> None:
    one, other = (0.9, 0.1, 0.2, 0.3, 0.5), (0.8, 0.2, 0.7, 0.2, 0.1)
    assert TASK.decision_columns == ["ER_predicted", "grade_predicted"]
    assert TASK.decision_cells(one) == ["neg", "3"]
    assert TASK.agreement_columns == ["ER_agreement", "grade_agreement"]
    assert TASK.agreement_cells(one, [one, other, other, other]) == [1, 0.25]


def slide(er: int | None, grade: int | None, outputs: torch.Tensor) -> Prediction:
    truth = tuple(None if value is None else float(value) for value in (er, grade))
    return Prediction("s", "c", TASK.label_of(truth), TASK.values(outputs), truth=truth)


def receptors(folder: Path, *, shuffled: bool = False, name: str = "") -> CohortSettings:
    """ER goes with the features, PR is its opposite; each is unknown for some slides."""
    er = [i % 2 for i in range(36)]
    stated = np.random.default_rng(5).permutation(er) if shuffled else er
    rows = [
        {
            "ER": "" if i % 9 == 4 else ("neg", "pos")[value],
            "PR": "NA" if i % 7 == 5 else ("pos", "neg")[value],
        }
        for i, value in enumerate(stated)
    ]
    cohort = write_labelled(folder, rows, [0.9 * value for value in er], name=name)
    return cohort.model_copy(update={"targets": ["ER", "PR"]})


def run_of(cohort: CohortSettings) -> MilSettings:
    return small_run(cohort)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("receptors")
    train(run_of(receptors(folder)), folder / "run", Silent())
    return folder / "run"


def test_the_loss_is_the_mean_over_what_is_known() -> None:
    outputs = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    known = [(1, 2), (0, None), (None, 1)]
    slides = [slide(*truth, row) for truth, row in zip(known, outputs, strict=True)]
    of_er, of_grade = outputs[:, :2].log_softmax(1), outputs[:, 2:].log_softmax(1)
    expected = -np.array([(of_er[0, 1] + of_grade[0, 2]) / 2, of_er[1, 0], of_grade[2, 1]])
    targets = TASK.targets(slides)
    assert TASK.losses(outputs, targets).numpy() == pytest.approx(expected)
    assert TASK.validation_loss(slides) == pytest.approx(expected.mean())


def test_an_unknown_target_has_no_gradient() -> None:
    outputs = torch.zeros(1, 5, requires_grad=True)
    loss = TASK.loss(outputs, torch.tensor([[float("nan"), 2.0]]))
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert gradient[0, :2].tolist() == [0, 0]
    assert gradient[0, 2:].abs().min() > 0


def test_a_table_of_predictions_comes_back(tmp_path: Path) -> None:
    rows = [slide(1, None, torch.randn(5)), slide(None, 0, torch.randn(5))]
    path = tmp_path / "predictions.csv"
    write_predictions(path, rows, TASK)
    assert read_predictions(path, TASK) == rows
    header = path.read_text().splitlines()[0].split(",")
    assert header[2:7] == ["ER_label", "ER_predicted", "grade_label", "grade_predicted", "fold"]


def test_the_mean_of_targets_is_not_defined_where_one_is_not() -> None:
    good = torch.tensor([-3.0, 3.0, 3.0, 0.0, -3.0])
    bad = torch.tensor([3.0, -3.0, -3.0, 0.0, 3.0])
    rows = [slide(1, 0, good), slide(0, 2, bad), slide(1, None, good)]
    scores = TASK.point_scores(rows)
    assert scores["auc"] is None  # nobody has grade 2
    assert scores["accuracy"] == 1
    assert TASK.score(rows)["targets"]["ER"]["auc"]["value"] == 1


def test_targets_are_learnt_and_shuffled_ones_are_not(tmp_path: Path, run: Path) -> None:
    pooled = read_metrics(run).pooled
    assert pooled["auc"]["value"] > 0.9
    of_targets = [pooled["targets"][name]["auc"]["value"] for name in ("ER", "PR")]
    assert pooled["auc"]["value"] == pytest.approx(np.mean(of_targets))
    assert pooled["targets"]["ER"]["num_slides"] == 32
    assert pooled["num_slides"] == 36
    assert evaluate(run, Silent()).metrics["pooled"] == pooled
    shuffled = train(run_of(receptors(tmp_path, shuffled=True)), tmp_path / "run", Silent())
    assert 0.2 < shuffled.pooled["auc"]["value"] < 0.75


def test_a_run_leaves_what_belongs_to_each_target(run: Path) -> None:
    for name in ("ER", "PR"):
        assert (run / "plots" / name / "roc.png").stat().st_size > 5000
    page = (run / "report.html").read_text()
    assert "Target PR" in page
    assert page.count('src="data:image/png;base64,') == 6


def test_unknown_labels_are_counted_and_slides_without_any_left_out(tmp_path: Path) -> None:
    cohort = receptors(tmp_path)
    assert cohort.labels is not None
    table = cohort.labels.read_text().replace("p00,neg,pos", "p00,,n/a")
    cohort.labels.write_text(table)
    reporter = Silent()
    train(run_of(cohort.model_copy()), tmp_path / "run", reporter)
    assert "target ER is not known for 4 of 35 slides" in reporter.warnings
    assert any("1 slide left out: s00 (no target is known)" in w for w in reporter.warnings)


def test_runs_are_compared_by_target_and_by_the_mean(run: Path) -> None:
    other = run.with_name("other")
    settings = run_of(receptors(run.parent))
    model = settings.model.model_copy(update={"name": "max"})
    train(settings.model_copy(update={"model": model}), other, Silent())
    mean = compare([run, other], None, Silent())
    assert mean.runs[0].score == read_metrics(run).pooled["auc"]
    of_er = compare([run, other], "brier", Silent(), target="ER")
    assert of_er.metric == "ER: brier"
    assert of_er.num_slides == 32
    score = read_metrics(run).pooled["targets"]["ER"]["brier"]
    assert of_er.runs[0].score["value"] == pytest.approx(score["value"])
    with pytest.raises(UsageError, match="has no target 'HER2'") as caught:
        compare([run, other], None, Silent(), target="HER2")
    assert caught.value.hint == "it has ER, PR"
    alone = run.with_name("alone")
    one = settings.cohort.model_copy(update={"targets": ["PR"]})
    train(run_of(one), alone, Silent())
    with pytest.raises(RunError, match="learnt targets PR"):
        compare([run, alone], None, Silent())


def test_a_new_cohort_may_lack_a_target_for_all_slides(tmp_path: Path, run: Path) -> None:
    rows = [{"ER": ("neg", "pos")[i % 2], "PR": ""} for i in range(8)]
    new = write_labelled(tmp_path, rows, [0.9 * (i % 2) for i in range(8)], name="new")
    reporter = Silent()
    done = evaluate(run, reporter, labels=new.labels, features=new.features)
    assert "target PR is not known for 8 of 8 slides" in reporter.warnings
    assert done.metrics["pooled"]["targets"]["PR"] is None
    assert done.metrics["pooled"]["auc"]["value"] is None
    assert done.metrics["pooled"]["targets"]["ER"]["auc"]["value"] > 0.9


def cohort_of(folder: Path, rows: list[dict[str, str]], **settings: object) -> Cohort:
    cohort = write_labelled(folder, rows, [0.0] * len(rows))
    return read_cohort(cohort.model_copy(update={"targets": ["ER", "PR"], **settings}))


def test_faults_say_which_target(tmp_path: Path) -> None:
    rows = [{"ER": "pos", "PR": "pos"}, {"ER": "Pos", "PR": "neg"}]
    with pytest.raises(TableError, match="line 3: target ER: 'Pos' stands elsewhere as 'pos'"):
        cohort_of(tmp_path, rows)
    rows = [{"ER": "pos", "PR": "pos"}, {"ER": "neg", "PR": "pos"}]
    with pytest.raises(TableError, match="target PR: all slides have one label, 'pos'"):
        cohort_of(tmp_path, rows)
    empty = [{"ER": "", "PR": "NA"}] * 2
    with pytest.raises(TableError, match="no slide has a known label of ER, PR"):
        cohort_of(tmp_path, empty)
    with pytest.raises(TableError, match="needs the columns slide_id, ER and HER2"):
        cohort_of(tmp_path, rows, targets=["ER", "HER2"])
    with pytest.raises(UsageError, match="leave --label-column out"):
        cohort_of(tmp_path, rows, label_column="ER")


def test_a_target_that_is_constant_in_a_fold_is_an_error(tmp_path: Path) -> None:
    rows = [{"ER": ("neg", "pos")[i % 2], "PR": "pos" if i < 2 else "neg"} for i in range(18)]
    cohort = write_labelled(tmp_path, rows, [0.0] * 18).model_copy(update={"targets": ["ER", "PR"]})
    with pytest.raises(SplitError, match="class 'pos' of target PR has 2 patients"):
        train(run_of(cohort), tmp_path / "run", Silent())


def test_grades_of_several_targets(tmp_path: Path) -> None:
    rows = [{"ER": str(i % 3), "PR": str(i % 2)} for i in range(6)]
    task = cohort_of(tmp_path, rows, kind="ordinal").task
    assert task == Several({"ER": Ordinal(("0", "1", "2")), "PR": Ordinal(("0", "1"))})
    assert task.outputs == ["ER: > 0", "ER: > 1", "PR: > 0"]
    assert task.headline == "weighted_kappa"
    values = task.values(torch.zeros(3))
    assert math.fsum(values[:3]) == pytest.approx(1)
    assert math.fsum(values[3:]) == pytest.approx(1)
    assert task_from_facts(task.facts()) == task


MIXED = Several({"ER": Classes(("neg", "pos")), "TMB": Regression((3.0,), mean=4.0, sd=2.0)})


def mixed(er: float | None, tmb: float | None, outputs: list[float]) -> Prediction:
    truth = (er, tmb)
    values = MIXED.values(torch.tensor(outputs))
    return Prediction("s", "c", MIXED.label_of(truth), values, truth=truth)


def test_a_class_and_a_number_each_have_their_own_loss_and_scale() -> None:
    rows = [mixed(1, 5.0, [0, 0, 1]), mixed(None, 2.0, [0, 0, 0]), mixed(0, None, [0, 0, 0])]
    outputs = torch.tensor([[0, 0, 1.0], [0, 0, 0.0], [0, 0, 0.0]])
    expected = [(math.log(2) + 0.5**2 / 2) / 2, 0.5, math.log(2)]
    losses = MIXED.losses(outputs, MIXED.targets(rows))
    assert losses.tolist() == pytest.approx(expected)
    assert MIXED.validation_loss(rows) == pytest.approx(np.mean(expected))
    assert rows[0].probs[2] == 6.0
    fitted = MIXED.fitted([mixed(0, 0.0, [0, 0, 0]), mixed(1, None, [0, 0, 0]), *rows[:2]])
    factors, shifts = MIXED.scale_on(fitted)
    scaled = outputs[0].numpy() * factors + shifts
    assert fitted.values(torch.from_numpy(scaled)) == pytest.approx(rows[0].probs)
    assert task_from_facts(MIXED.facts()) == MIXED


def test_a_mixed_table_of_predictions_comes_back(tmp_path: Path) -> None:
    rows = [mixed(1, None, [1, 2, 3]), mixed(None, 12.5, [0, 1, -7])]
    path = tmp_path / "predictions.csv"
    write_predictions(path, rows, MIXED)
    assert read_predictions(path, MIXED) == rows
    header = path.read_text().splitlines()[0]
    assert header == (
        "slide_id,case_id,ER_label,ER_predicted,TMB_label,fold,"
        "ER_prob_neg,ER_prob_pos,TMB_predicted"
    )
    assert MIXED.agreement_columns == ["ER_agreement", "TMB_predicted_low", "TMB_predicted_high"]
    others = [(0.2, 0.8, 3.0), (0.7, 0.3, 5.0)]
    assert MIXED.agreement_cells((0.1, 0.9, 4.0), others) == [0.5, 3.0, 5.0]


def test_classes_and_numbers_are_learnt_together(tmp_path: Path) -> None:
    er = [i % 2 for i in range(24)]
    rows = [
        {"ER": ("neg", "pos")[v], "TMB": "" if i % 7 == 5 else f"{10 * v + i % 3}"}
        for i, v in enumerate(er)
    ]
    cohort = write_labelled(tmp_path, rows, [0.9 * v for v in er])
    cohort = cohort.model_copy(update={"targets": ["ER", "TMB=regression"]})
    pooled = train(run_of(cohort), tmp_path / "run", Silent()).pooled
    of_er, of_tmb = pooled["targets"]["ER"], pooled["targets"]["TMB"]
    assert of_tmb["r2"]["value"] > 0.5
    assert "at_threshold" in of_er
    assert "at_threshold" not in of_tmb
    mean = (of_er["auc"]["value"] + of_tmb["r2"]["value"]) / 2
    assert pooled["mean_headline"]["value"] == pytest.approx(mean)
    assert read_metrics(tmp_path / "run").task.headline == "mean_headline"
    assert (tmp_path / "run" / "plots" / "TMB" / "scatter.png").is_file()
    assert evaluate(tmp_path / "run", Silent()).metrics["pooled"] == pooled


def test_kinds_of_targets_are_read_one_way(tmp_path: Path) -> None:
    rows = [{"ER": str(i), "PR": str(2 * i)} for i in range(4)]
    task = cohort_of(tmp_path, rows, kind="regression").task
    assert task.headline == "r2"
    assert "mean_absolute_error" not in task.metrics
    of_both = ["ER=regression", "PR"]
    assert isinstance(cohort_of(tmp_path, rows, targets=of_both).task.tasks["PR"], Classes)
    with pytest.raises(UsageError, match="--class has no meaning with --kind regression"):
        cohort_of(tmp_path, rows, targets=["ER=regression"], classes=["0"])
    with pytest.raises(UsageError, match="give each --target once"):
        cohort_of(tmp_path, rows, targets=["ER=regression", "ER"])
    both = [{**row, "ER=regression": "1"} for row in rows]
    with pytest.raises(UsageError, match="may be the column ER=regression or the column ER"):
        cohort_of(tmp_path, both, targets=of_both)
    with pytest.raises(TableError, match="line 2: target PR: label 'high' is no number"):
        cohort_of(tmp_path, [{"ER": "1", "PR": "high"}, *rows], kind="regression")
