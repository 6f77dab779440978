"""Scores of predictions: their intervals, and what stands beside them."""

from typing import Any

import numpy as np
import pytest

from tcssa.mil.tasks import Classes
from tcssa.mil.tasks.prediction import Prediction


def score(labels: list[int], probs: np.ndarray, cases: list[str]) -> dict[str, Any]:
    rows = [
        Prediction(f"s{i}", case, label, tuple(row))
        for i, (label, row, case) in enumerate(zip(labels, probs.tolist(), cases, strict=True))
    ]
    return Classes(tuple(map(str, range(probs.shape[1])))).score(rows)


def two_columns(positive: list[float]) -> np.ndarray:
    return np.array([[1 - p, p] for p in positive])


def test_intervals_are_by_patient() -> None:
    """Ten copies of each patient's slide are no more evidence than one."""
    rng = np.random.default_rng(0)
    labels = [i % 2 for i in range(30)]
    noise = 0.2 * rng.standard_normal(30)
    probs = two_columns(np.clip(0.4 + 0.2 * np.array(labels) + noise, 0, 1).tolist())
    cases = [f"p{i}" for i in range(30)]
    once = score(labels, probs, cases)["auc"]
    tenfold = score(labels * 10, np.tile(probs, (10, 1)), cases * 10)["auc"]
    assert tenfold["value"] == pytest.approx(once["value"])
    width_once, width_tenfold = once["high"] - once["low"], tenfold["high"] - tenfold["low"]
    assert width_tenfold == pytest.approx(width_once, rel=0.15)
    assert once["low"] < once["value"] < once["high"]


def test_too_few_patients_have_no_interval() -> None:
    scores = score(list(range(10)), np.eye(10), [f"p{i}" for i in range(10)])
    assert scores["auc"]["value"] == 1.0
    assert scores["auc"]["low"] is None


def test_confusion_has_true_classes_in_rows() -> None:
    scores = score([0, 0, 1], two_columns([0.9, 0.1, 0.9]), ["a", "b", "b"])
    assert scores["confusion"] == [[1, 1], [0, 1]]
    assert (scores["num_slides"], scores["num_cases"]) == (3, 2)
