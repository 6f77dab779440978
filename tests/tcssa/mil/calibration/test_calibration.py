"""Thresholds and temperatures of each target, from validation predictions."""

from tcssa.mil.calibration.calibration import calibrate, targets_of
from tcssa.mil.calibration.record import LABEL
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.multitask import Several
from tcssa.mil.tasks.prediction import Prediction
from tcssa.mil.tasks.regression import Regression

TWO, THREE = Classes(("no", "yes")), Classes(("a", "b", "c"))


def slides(probs: list[float], labels: list[int]) -> list[Prediction]:
    return [
        Prediction(f"S{i}", f"P{i}", label, (1 - p, p), truth=(float(label),))
        for i, (p, label) in enumerate(zip(probs, labels, strict=True))
    ]


def test_the_threshold_lies_between_slides_that_probabilities_separate() -> None:
    told: list[str] = []
    found = calibrate(TWO, slides([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]), "youden", told.append)
    threshold = found[LABEL].threshold
    assert threshold is not None
    assert 0.2 < threshold <= 0.3
    assert found[LABEL].num_slides == 4
    assert not told


def test_slides_of_one_class_choose_nothing_and_it_is_told() -> None:
    told: list[str] = []
    found = calibrate(TWO, slides([0.1, 0.2], [0, 0]), "youden", told.append)
    assert found[LABEL].threshold == 0.5
    assert len(told) == 1
    assert "lack a class" in told[0]


def test_three_classes_have_a_temperature_and_no_threshold() -> None:
    rows = [
        Prediction(f"S{i}", f"P{i}", i % 3, (0.4, 0.3, 0.3), truth=(float(i % 3),))
        for i in range(6)
    ]
    found = calibrate(THREE, rows, "youden", lambda _: None)
    assert found[LABEL].threshold is None
    assert found[LABEL].temperature > 0


def test_numbers_among_several_targets_are_not_calibrated() -> None:
    task = Several({"ER": TWO, "TMB": Regression((), 0.0, 1.0)})
    assert set(targets_of(task)) == {"ER"}
