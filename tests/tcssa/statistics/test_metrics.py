"""Scores against cases one can work out by hand."""

import numpy as np
import pytest

from tcssa.statistics.metrics import (
    auc,
    auprc,
    balanced_accuracy,
    brier,
    calibration_error,
    macro_f1,
    score_all,
    weighted_kappa,
)


def two_columns(positive: list[float]) -> np.ndarray:
    return np.array([[1 - p, p] for p in positive])


def test_auc_counts_ties_as_half() -> None:
    labels = np.array([0, 0, 1, 1])
    assert auc(labels, two_columns([0.1, 0.5, 0.5, 0.9])) == pytest.approx(3.5 / 4)
    assert auc(labels, two_columns([0.5] * 4)) == pytest.approx(0.5)


def test_perfect_separation_is_one() -> None:
    labels = np.repeat([0, 1], 10)
    assert auc(labels, two_columns([0.2] * 10 + [0.7] * 10)) == 1.0


def test_auc_of_three_classes_is_the_mean_of_one_against_rest() -> None:
    labels = np.array([0, 1, 2, 2])
    probs = np.array([[0.6, 0.2, 0.2], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7], [0.4, 0.5, 0.1]])
    # class 0: 3 of 3 pairs; class 1: 2 of 3; class 2: 2 clear wins and 1 tie + 0.5 … by hand
    pairs = []
    for c in range(3):
        positive, negative = probs[labels == c, c], probs[labels != c, c]
        wins = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
        pairs.append(np.mean(wins))
    assert auc(labels, probs) == pytest.approx(np.mean(pairs))


def test_auc_is_undefined_without_one_of_the_classes() -> None:
    assert auc(np.array([1, 1]), two_columns([0.3, 0.6])) is None


def test_balanced_accuracy_and_f1_by_hand() -> None:
    labels = np.array([0, 0, 0, 1])
    probs = two_columns([0.1, 0.2, 0.8, 0.9])
    assert balanced_accuracy(labels, probs) == pytest.approx((2 / 3 + 1) / 2)
    assert macro_f1(labels, probs) == pytest.approx((0.8 + 2 / 3) / 2)


def test_intervals_are_by_patient() -> None:
    """Ten copies of each patient's slide are no more evidence than one."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 2
    probs = two_columns(list(np.clip(0.4 + 0.2 * labels + 0.2 * rng.standard_normal(30), 0, 1)))
    cases = [f"p{i}" for i in range(30)]
    once = score_all(labels, probs, cases)["auc"]
    tenfold = score_all(np.tile(labels, 10), np.tile(probs, (10, 1)), cases * 10)["auc"]
    assert tenfold["value"] == pytest.approx(once["value"])
    width_once, width_tenfold = once["high"] - once["low"], tenfold["high"] - tenfold["low"]
    assert width_tenfold == pytest.approx(width_once, rel=0.15)
    assert once["low"] < once["value"] < once["high"]


def test_too_few_patients_have_no_interval() -> None:
    labels = np.arange(10)
    scores = score_all(labels, np.eye(10), [f"p{i}" for i in labels])
    assert scores["auc"]["value"] == 1.0
    assert scores["auc"]["low"] is None


def test_confusion_has_true_classes_in_rows() -> None:
    scores = score_all(np.array([0, 0, 1]), two_columns([0.9, 0.1, 0.9]), ["a", "b", "c"])
    assert scores["confusion"] == [[1, 1], [0, 1]]
    assert (scores["num_slides"], scores["num_cases"]) == (3, 3)


def test_average_precision_by_hand() -> None:
    # ranked: right, wrong, right: precision 1 at recall 1/2, 2/3 at recall 1
    labels = np.array([1, 0, 1])
    assert auprc(labels, two_columns([0.9, 0.8, 0.7])) == pytest.approx((1 + 2 / 3) / 2)


def test_brier_by_hand() -> None:
    assert brier(np.array([1, 0]), two_columns([0.8, 0.0])) == pytest.approx((2 * 0.2**2) / 2)


def test_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    # four slides of confidence 0.75, three of them right; two of confidence 0.95, one right
    labels = np.array([1, 1, 1, 0, 1, 0])
    probs = two_columns([0.75] * 4 + [0.95] * 2)
    assert calibration_error(labels, probs) == pytest.approx(2 / 6 * (0.95 - 0.5))


def test_weighted_kappa_weighs_by_the_square_of_the_distance() -> None:
    labels = np.array([0, 1, 2, 2])
    probs = np.eye(3)[[0, 1, 2, 0]]
    observed = 4 / 4  # one slide two grades off
    expected = np.mean([(a - b) ** 2 for a in labels for b in (0, 1, 2, 0)])
    assert weighted_kappa(labels, probs) == pytest.approx(1 - observed / expected)
