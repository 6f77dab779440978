"""Figures of decisions beside the metrics, of every kind of label that has classes."""

import pytest

from tcssa.mil.calibration.calibration import calibrate
from tcssa.mil.calibration.figures import with_decisions
from tcssa.mil.calibration.record import Calibration
from tcssa.mil.reporting.decision_rows import decisions, scaling
from tcssa.mil.tasks import Classes, MilTask, Several, Survival
from tcssa.mil.tasks.prediction import Prediction

TWO = Classes(("benign", "tumour"))


def rows(task: MilTask, probs: list[tuple[float, ...]], truths: list[tuple[float | None, ...]],
         fold: int | None = 0) -> list[Prediction]:  # fmt: skip
    return [
        Prediction(f"s{i}", f"p{i}", task.label_of(truth), of_slide, fold, truth)
        for i, (of_slide, truth) in enumerate(zip(probs, truths, strict=True))
    ]


def refuse(text: str) -> None:
    raise AssertionError(text)


PROBS = [(0.9, 0.1), (0.8, 0.2), (0.6, 0.4), (0.2, 0.8)]
TRUTHS: list[tuple[float | None, ...]] = [(0,), (0,), (1,), (1,)]


def test_each_fold_is_read_at_its_own_threshold() -> None:
    own = {
        0: {"label": Calibration(temperature=1, threshold=0.3, rule="youden", num_slides=4)},
        1: {"label": Calibration(temperature=1, threshold=0.9, rule="youden", num_slides=4)},
    }
    tested = [*rows(TWO, PROBS, TRUTHS, 0), *rows(TWO, PROBS, TRUTHS, 1)]
    scores = with_decisions({}, TWO, tested, lambda fold: own[fold or 0], seed=0)
    at = scores["at_threshold"]
    assert (at["positive"], at["rule"]) == ("tumour", "youden")
    assert at["sensitivity"]["value"] == 0.5  # both by fold 0, none by fold 1
    assert at["specificity"]["value"] == 1
    assert list(scores["by_class"]) == ["tumour"]
    assert scores["by_class"]["tumour"]["sensitivity"]["value"] == 0.5
    for name, unscaled in scores["unscaled"].items():
        assert scores["scaled"][name] == pytest.approx(unscaled)
    assert [name for name, *_ in decisions(scores)] == [
        "tumour predicted", "tumour at threshold",
    ]  # fmt: skip


def test_more_classes_have_rates_each_and_no_threshold() -> None:
    task = Classes(("a", "b", "c"))
    probs = [(0.7, 0.2, 0.1), (0.2, 0.7, 0.1), (0.1, 0.2, 0.7), (0.5, 0.3, 0.2)]
    tested = rows(task, probs, [(0,), (1,), (2,), (2,)])
    found = calibrate(task, tested, "youden", refuse)
    assert found["label"].threshold is None
    scores = with_decisions({}, task, tested, lambda fold: found, seed=0)
    assert {c: f["sensitivity"]["value"] for c, f in scores["by_class"].items()} == {
        "a": 1, "b": 1, "c": 0.5,
    }  # fmt: skip
    assert scores["by_class"]["a"]["specificity"]["value"] == pytest.approx(2 / 3)
    assert "at_threshold" not in scores
    assert [title for title, *_ in scaling(scores)] == ["calibration error", "Brier score"]


def test_several_targets_are_read_each_by_itself() -> None:
    task = Several({"er": TWO, "grade": Classes(("1", "2", "3"))})
    grades = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)]
    probs = [(*one, *other) for one, other in zip(PROBS, grades, strict=True)]
    tested = rows(task, probs, [(0, 0), (0, 1), (1, 2), (1, None)])
    found = calibrate(task, tested, "sensitivity=1", refuse)
    assert found["er"].threshold == pytest.approx(0.3)
    assert (found["grade"].threshold, found["grade"].num_slides) == (None, 3)
    scores = with_decisions(task.score(tested), task, tested, lambda fold: found, seed=0)
    er, grade = scores["targets"]["er"], scores["targets"]["grade"]
    assert er["at_threshold"]["sensitivity"]["value"] == 1
    assert list(grade["by_class"]) == ["1", "2", "3"]
    assert "by_class" not in scores


def test_a_run_of_before_has_rates_of_predicted_classes_alone() -> None:
    scores = with_decisions({}, TWO, rows(TWO, PROBS, TRUTHS), lambda fold: {}, seed=0)
    assert list(scores) == ["by_class"]


def test_labels_without_classes_have_none() -> None:
    survival = Survival(num_spans=2)
    tested = rows(survival, [(0.9, 0.5)], [(3.0, 1.0)])
    assert calibrate(survival, tested, "youden", refuse) == {}
    assert with_decisions({"c_index": 1}, survival, tested, lambda _: {}, seed=0) == {"c_index": 1}


def test_validation_slides_of_one_class_are_told_of() -> None:
    told: list[str] = []
    found = calibrate(TWO, rows(TWO, PROBS[:2], TRUTHS[:2]), "youden", told.append)
    assert found["label"].threshold == 0.5
    assert told == ["its validation slides lack a class: the threshold is 0.5"]
