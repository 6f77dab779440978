"""Survival: the likelihood, the spans, tables, and whole runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cohorts import small_run, write_labelled, write_survival

from tcssa.errors import SplitError, TableError, UsageError
from tcssa.mil.classifier.classifiers import load_classifier
from tcssa.mil.cohort.cohort import read_cohort
from tcssa.mil.comparison.compare import compare
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.mil.settings import CohortSettings, MilSettings
from tcssa.mil.tasks import Survival, task_from_facts
from tcssa.mil.tasks.prediction import Prediction
from tcssa.mil.training.train import train
from tcssa.reporter import Silent

FITTED = Survival(num_spans=3, edges=(10.0, 20.0))


def seen(time: float, event: bool, outputs: torch.Tensor) -> Prediction:
    return Prediction("s", "c", int(event), FITTED.values(outputs), truth=(time, float(event)))


def run_of(cohort: CohortSettings) -> MilSettings:
    return small_run(cohort, epochs=20)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patients")
    train(run_of(write_survival(folder)), folder / "run", Silent())
    return folder / "run"


@pytest.mark.parametrize("time", [0.0, 9.9, 10.0, 15.0, 20.0, 500.0])
@pytest.mark.parametrize("event", [True, False])
def test_the_loss_is_the_likelihood(time: float, event: bool) -> None:
    outputs = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    hazards = outputs.sigmoid().tolist()
    span = 0 if time < 10 else 1 if time < 20 else 2
    likelihood = np.prod([1 - h for h in hazards[:span]])
    likelihood *= hazards[span] if event else 1 - hazards[span]
    slide = seen(time, event, outputs)
    loss = FITTED.loss(outputs.unsqueeze(0), FITTED.targets([slide]))
    assert float(loss) == pytest.approx(-np.log(likelihood))
    assert FITTED.validation_loss([slide]) == pytest.approx(-np.log(likelihood))


def test_spans_hold_as_many_events_of_the_training_part() -> None:
    slides = [Prediction("s", "c", 1, (), truth=(float(t), 1.0)) for t in range(1, 41)]
    censored = [Prediction("s", "c", 0, (), truth=(900.0, 0.0))] * 30
    fitted = Survival().fitted([*slides, *censored])
    spans = fitted.targets(slides)[:, 0]
    assert spans.bincount().tolist() == [10, 10, 10, 10]
    few = [slides[0]] * 20 + slides[:3]
    with pytest.raises(SplitError, match="23 events at 3 different times, too few for 4 spans"):
        Survival().fitted(few)


def test_figures_are_of_write_survival() -> None:
    rows = [
        Prediction("a1", "a", 1, (0.9, 0.5), truth=(5.0, 1.0)),
        Prediction("a2", "a", 1, (0.5, 0.1), truth=(5.0, 1.0)),
        Prediction("b", "b", 0, (0.9, 0.8), truth=(7.0, 0.0)),
    ]
    scored = Survival(num_spans=2).scored(rows)
    assert scored.cases == ["a", "b"]
    assert scored.values[0] == pytest.approx([0.7, 0.3])
    scores = Survival(num_spans=2).score(rows)
    assert scores["c_index"]["value"] == 1
    assert (scores["num_slides"], scores["num_cases"], scores["num_events"]) == (3, 2, 1)


def test_survival_is_learnt_and_shuffled_times_are_not(tmp_path: Path, run: Path) -> None:
    learnt = evaluate(run, Silent()).metrics["pooled"]
    assert learnt["c_index"] == read_metrics(run).pooled["c_index"]
    assert learnt["c_index"]["value"] > 0.75
    assert learnt["log_rank_p"] < 0.01
    shuffled = train(run_of(write_survival(tmp_path, shuffled=True)), tmp_path / "run", Silent())
    assert 0.3 < shuffled.pooled["c_index"]["value"] < 0.65


def test_a_run_leaves_what_belongs_to_survival(run: Path) -> None:
    rows = (run / "predictions.csv").read_text().splitlines()
    columns = "time,event,risk,fold,survival_1,survival_2,survival_3,survival_4"
    assert rows[0] == f"slide_id,case_id,{columns}"
    assert (run / "plots" / "survival.png").stat().st_size > 5000
    history = (run / "fold-0" / "history.csv").read_text()
    assert history.startswith("epoch,train_loss,val_loss,val_c_index,")
    page = (run / "report.html").read_text()
    assert "log-rank p" in page
    assert "Kaplan–Meier" in page
    edges = [
        load_classifier(run / f"fold-{fold}" / "checkpoint.safetensors").task.facts()["edges"]
        for fold in range(3)
    ]
    # cut at the times of each fold's own training part
    assert all(len(of_fold) == 3 for of_fold in edges)
    assert edges[0] != edges[1]


def test_new_patients_are_scored_and_runs_compared(tmp_path: Path, run: Path) -> None:
    new = write_survival(tmp_path, name="new")
    done = evaluate(run, Silent(), labels=new.labels, features=new.features)
    assert done.metrics["pooled"]["c_index"]["value"] > 0.75
    assert (done.folder / "survival.png").exists()
    other = run.with_name("other")
    settings = run_of(write_survival(run.parent))
    model = settings.model.model_copy(update={"name": "mean"})
    train(settings.model_copy(update={"model": model}), other, Silent())
    found = compare([run, other], None, Silent())
    assert found.metric == "c_index"
    assert found.runs[0].score == read_metrics(run).pooled["c_index"]
    assert found.runs[0].fold_mean == read_metrics(run).over_folds["c_index"].mean
    with pytest.raises(UsageError, match="unknown metric 'auc'"):
        compare([run, other], "auc", Silent())
    with pytest.raises(UsageError, match="has no target 'ER'"):
        compare([run, other], None, Silent(), target="ER")


def table(folder: Path, rows: list[dict[str, str]], **settings: Any) -> CohortSettings:
    cohort = write_labelled(folder, rows, [0.0] * len(rows))
    return cohort.model_copy(update={"kind": "survival", **settings})


@pytest.mark.parametrize(
    ("time", "event", "fault"),
    [
        ("", "1", "line 3: the time is empty"),
        ("3", "", "line 3: the event is empty"),
        ("-2", "1", "line 3: time -2 is no time since the start"),
        ("soon", "1", "line 3: time 'soon' is no number"),
        ("inf", "1", "line 3: time inf is no time since the start"),
        ("3", "maybe", r"line 3: event 'maybe' is neither 1 \(it happened\) nor 0"),
    ],
)
def test_faults_are_named_with_their_line(
    tmp_path: Path, time: str, event: str, fault: str
) -> None:
    rows = [{"time": "5", "event": "1"}, {"time": time, "event": event}]
    with pytest.raises(TableError, match=fault):
        read_cohort(table(tmp_path, rows))


def test_a_table_of_censored_patients_is_refused(tmp_path: Path) -> None:
    rows = [{"time": str(t), "event": "0"} for t in range(1, 9)]
    with pytest.raises(TableError, match="no slide of 8 has an event: all are censored"):
        read_cohort(table(tmp_path, rows))


def test_slides_of_a_patient_must_agree(tmp_path: Path) -> None:
    rows = [{"case_id": "p", "time": t, "event": "1"} for t in ("5", "6")]
    with pytest.raises(TableError, match="line 3: patient 'p' has another time or event in line 2"):
        read_cohort(table(tmp_path, rows))


def test_tables_of_the_field_are_read(tmp_path: Path) -> None:
    mcat = [
        {"survival_months": "5", "censorship": "0"},
        {"survival_months": "7", "censorship": "1"},
    ]
    slides = read_cohort(table(tmp_path / "mcat", mcat)).slides
    assert [slide.truth for slide in slides] == [(5.0, 1.0), (7.0, 0.0)]
    portal = [
        {"OS_MONTHS": "5", "OS_STATUS": "1:DECEASED"},
        {"OS_MONTHS": "7", "OS_STATUS": "0:LIVING"},
    ]
    slides = read_cohort(table(tmp_path / "portal", portal)).slides
    assert [slide.truth for slide in slides] == [(5.0, 1.0), (7.0, 0.0)]
    named = table(tmp_path / "named", [{"a": "5", "b": "1"}], time_column="a", event_column="b")
    assert read_cohort(named).slides[0].label == 1


def test_what_does_not_go_with_survival_is_refused(tmp_path: Path) -> None:
    rows = [{"time": "5", "event": "1"}]
    with pytest.raises(UsageError, match="--target has no meaning with --kind survival"):
        read_cohort(table(tmp_path, rows, targets=["ER"]))


def test_too_few_events_for_the_folds_are_an_error(tmp_path: Path) -> None:
    rows = [{"time": str(t + 1), "event": str(int(t < 2))} for t in range(12)]
    with pytest.raises(SplitError, match="event has 2 patients, 3 folds need at least 3"):
        train(run_of(table(tmp_path, rows)), tmp_path / "run", Silent())


def test_facts_come_back_as_the_task() -> None:
    assert task_from_facts(FITTED.facts()) == FITTED
