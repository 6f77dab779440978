"""Metrics of predictions, with intervals by patient."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.statistics import ranking

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Metric = Callable[[NDArray[Any], Floats], float | None]  # what is true differs from kind to kind
"""Computes a figure from truth and prediction, row by row; None if it is not defined."""

BOOTSTRAP_SAMPLES = 1000
_CALIBRATION_BINS = 10


def auc(labels: Ints, probs: Floats) -> float | None:
    """Compute the area under the ROC curve; macro one-vs-rest for more than two classes.

    Args:
        labels: Class indices [S].
        probs: Probabilities [S, C].

    Returns:
        The area, 0 to 1; None where a class does not occur among the labels.
    """
    return _one_against_rest(ranking.area, labels, probs)


def balanced_accuracy(labels: Ints, probs: Floats) -> float:
    """Compute the mean recall of the classes that occur.

    Args:
        labels: Class indices [S].
        probs: Probabilities [S, C].
    """
    right = probs.argmax(axis=1) == labels
    counts = np.bincount(labels)
    found = np.bincount(labels[right], minlength=len(counts))
    return float((found[counts > 0] / counts[counts > 0]).mean())


def accuracy(labels: Ints, probs: Floats) -> float:
    """Compute the share of slides whose most probable class is the true one.

    Args:
        labels: Class indices [S].
        probs: Probabilities [S, C].
    """
    return float((probs.argmax(axis=1) == labels).mean())


def macro_f1(labels: Ints, probs: Floats) -> float:
    """Compute the mean F1 over all classes; 0 for one that is never predicted.

    Args:
        labels: Class indices [S].
        probs: Probabilities [S, C].
    """
    num_classes = probs.shape[1]
    counts = count_pairs(labels, probs.argmax(axis=1), num_classes, num_classes)
    either = counts.sum(axis=0) + counts.sum(axis=1)
    return float(np.mean(2 * counts.diagonal() / np.maximum(either, 1)))


def auprc(labels: Ints, probs: Floats) -> float | None:
    """Compute the average precision; macro one-vs-rest for more than two classes.

    Args:
        labels: Class indices [S].
        probs: Probabilities [S, C].

    Returns:
        The average precision, 0 to 1; None where a class does not occur among the labels.
    """
    return _one_against_rest(ranking.average_precision, labels, probs)


def brier(labels: Ints, probs: Floats) -> float:
    """Compute the mean squared distance of probabilities from the truth, summed over classes.

    Args:
        labels: Class indices [S].
        probs: Probabilities [S, C].

    Returns:
        The Brier score, 0 to 2.
    """
    truth = np.eye(probs.shape[1])[labels]
    return float(((probs - truth) ** 2).sum(axis=1).mean())


def calibration_error(labels: Ints, probs: Floats) -> float:
    """Compute the expected calibration error over ten equal bins of confidence.

    It tells how far confidence is from accuracy.

    Args:
        labels: Class indices [S].
        probs: Probabilities [S, C].

    Returns:
        The error, 0 to 1; NaN where a confidence is.
    """
    confidence = probs.max(axis=1)
    if not np.isfinite(confidence).all():
        return math.nan
    right = probs.argmax(axis=1) == labels
    bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, right - confidence)
    return float(np.abs(gaps).sum() / len(labels))


def weighted_kappa(labels: Ints, probs: Floats) -> float | None:
    """Compute quadratic weighted kappa, the classes taken as grades in their order.

    Args:
        labels: Class indices [S].
        probs: Probabilities [S, C].

    Returns:
        Kappa; None where a single grade is all that occurs and is predicted.
    """
    grades = np.arange(probs.shape[1])
    counts = count_pairs(labels, probs.argmax(axis=1), len(grades), len(grades))
    distance = (grades[:, None] - grades) ** 2
    by_chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / len(labels)
    expected = (distance * by_chance).sum()
    return float(1 - (distance * counts).sum() / expected) if expected else None


def _one_against_rest(
    of_two: Callable[[NDArray[np.bool_], Floats], float], labels: Ints, probs: Floats
) -> float | None:
    """Average a figure of two classes over each class against all others.

    With two classes the second is the positive one. None where a class does not occur.
    """
    num_classes = probs.shape[1]
    if not np.bincount(labels, minlength=num_classes).all():
        return None
    shown = [1] if num_classes == 2 else range(num_classes)
    return float(np.mean([of_two(labels == c, probs[:, c]) for c in shown]))


def count_pairs(one: Ints, other: Ints, num_ones: int, num_others: int) -> Ints:
    """Count how often each pair of numbers occurs together.

    Args:
        one: Numbers from 0 to ``num_ones`` − 1, [M].
        other: Numbers from 0 to ``num_others`` − 1, [M].
        num_ones: How many different numbers ``one`` may hold.
        num_others: How many different numbers ``other`` may hold.

    Returns:
        The counts, [num_ones, num_others].
    """
    flat = np.bincount(one * num_others + other, minlength=num_ones * num_others)
    return flat.reshape(num_ones, num_others)


METRICS: dict[str, Metric] = {
    "auc": auc,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "accuracy": accuracy,
    "auprc": auprc,
    "brier": brier,
    "calibration_error": calibration_error,
    "weighted_kappa": weighted_kappa,
}
"""Kappa is meaningful where classes are grades; for Brier and calibration, lower is better."""


def resampled(cases: Sequence[str], seed: int) -> list[Ints]:
    """Draw bootstrap samples of patients, all slides of a patient together.

    Args:
        cases: The patient of each slide, [S].
        seed: Seed of the draw.

    Returns:
        Indices of slides for each of `BOOTSTRAP_SAMPLES` samples.
    """
    rng = np.random.default_rng(seed)
    names, slide_case = np.unique(np.asarray(cases), return_inverse=True)
    slides_of = [np.flatnonzero(slide_case == i) for i in range(len(names))]
    return [
        np.concatenate([slides_of[i] for i in rng.integers(0, len(names), len(names))])
        for _ in range(BOOTSTRAP_SAMPLES)
    ]


def bootstrap(
    metric: Metric,
    labels: NDArray[Any],
    probs: Floats,
    samples: Sequence[Ints],
) -> Floats:
    """Compute a metric for every bootstrap sample.

    Args:
        metric: The metric.
        labels: Class indices [S], or whatever truth the metric takes.
        probs: Probabilities [S, C], or whatever predictions the metric takes.
        samples: Indices of slides for each sample, as `resampled` draws them.

    Returns:
        The figure of each sample; NaN where it is not defined.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sample without a class is NaN here
        drawn = [metric(labels[sample], probs[sample]) for sample in samples]
    return np.array([np.nan if value is None else value for value in drawn])
