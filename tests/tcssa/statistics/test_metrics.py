"""Metrics beside scikit-learn's, and against cases that one can work out by hand."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as theirs

from tcssa.statistics import metrics as ours


def two_columns(positive: list[float]) -> np.ndarray:
    return np.array([[1 - p, p] for p in positive])


@given(st.integers(2, 5), st.integers(0, 1000))
def test_any_number_of_classes_scores_as_in_scikit_learn(num_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, 20)])
    probs = rng.dirichlet(np.ones(num_classes), len(labels)).round(1)  # which makes ties
    probs /= probs.sum(axis=1, keepdims=True)
    predicted, classes = probs.argmax(axis=1), range(num_classes)
    is_class = np.eye(num_classes)[labels]
    shown = slice(1, None) if num_classes == 2 else slice(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are never predicted
        expected = {
            "auc": theirs.roc_auc_score(is_class[:, shown], probs[:, shown]),
            "auprc": theirs.average_precision_score(is_class[:, shown], probs[:, shown]),
            "accuracy": theirs.accuracy_score(labels, predicted),
            "balanced_accuracy": theirs.balanced_accuracy_score(labels, predicted),
            "macro_f1": theirs.f1_score(labels, predicted, labels=classes, average="macro"),
            "weighted_kappa": theirs.cohen_kappa_score(labels, predicted, weights="quadratic"),
        }
    for name, value in expected.items():
        assert ours.METRICS[name](labels, probs) == pytest.approx(value), name


def test_a_class_that_lacks_or_is_alone_has_no_figure() -> None:
    probs = np.array([[0.2, 0.8], [0.3, 0.7]])
    assert ours.auc(np.array([1, 1]), probs) is None
    assert ours.auprc(np.array([1, 1]), probs) is None
    assert ours.weighted_kappa(np.array([1, 1]), probs) is None


def test_brier_by_hand() -> None:
    assert ours.brier(np.array([1, 0]), two_columns([0.8, 0.0])) == pytest.approx((2 * 0.2**2) / 2)


def test_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    # four slides of confidence 0.75, three of them right; two of confidence 0.95, one right
    labels = np.array([1, 1, 1, 0, 1, 0])
    probs = two_columns([0.75] * 4 + [0.95] * 2)
    assert ours.calibration_error(labels, probs) == pytest.approx(2 / 6 * (0.95 - 0.5))


def test_the_calibration_of_no_numbers_is_none() -> None:
    assert np.isnan(ours.calibration_error(np.array([0, 1]), two_columns([0.5, float("nan")])))
