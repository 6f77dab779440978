"""What predictions are worth, with intervals by patient."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.statistics import ranking
from tcssa.statistics.intervals import Score, interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Metric = Callable[[NDArray[Any], Floats], float | None]  # what is true differs from kind to kind
"""From what is true and what was predicted, row by row, to a figure; None if it is not defined."""

BOOTSTRAP_SAMPLES = 1000
_CALIBRATION_BINS = 10


def auc(labels: Ints, probs: Floats) -> float | None:
    """Area under the ROC curve; macro one-vs-rest for more than two classes.

    Args:
        labels: Class indices [S].
        probs: Probabilities [S, C].

    Returns:
        None where a class does not occur among the labels.
    """
    return _one_against_rest(ranking.area, labels, probs)


def balanced_accuracy(labels: Ints, probs: Floats) -> float:
    """Mean recall of the classes that occur."""
    predicted = probs.argmax(axis=1)
    return float(np.mean([(predicted[labels == c] == c).mean() for c in np.unique(labels)]))


def accuracy(labels: Ints, probs: Floats) -> float:
    """Share of slides that are right."""
    return float((probs.argmax(axis=1) == labels).mean())


def macro_f1(labels: Ints, probs: Floats) -> float:
    """Mean F1 over all classes; 0 for one that is never predicted."""
    counts = _counts(labels, probs.argmax(axis=1), probs.shape[1])
    either = counts.sum(axis=0) + counts.sum(axis=1)
    return float(np.mean(2 * counts.diagonal() / np.maximum(either, 1)))


def auprc(labels: Ints, probs: Floats) -> float | None:
    """Average precision; macro one-vs-rest for more than two classes.

    Returns:
        None where a class does not occur among the labels.
    """
    return _one_against_rest(ranking.average_precision, labels, probs)


def brier(labels: Ints, probs: Floats) -> float:
    """Mean squared distance of the probabilities from the truth, summed over classes; 0 to 2."""
    truth = np.eye(probs.shape[1])[labels]
    return float(((probs - truth) ** 2).sum(axis=1).mean())


def calibration_error(labels: Ints, probs: Floats) -> float:
    """How far confidence is from accuracy: expected calibration error over ten equal bins."""
    confidence = probs.max(axis=1)
    right = probs.argmax(axis=1) == labels
    bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    gaps = [
        (bins == b).mean() * abs(right[bins == b].mean() - confidence[bins == b].mean())
        for b in np.unique(bins)
    ]
    return float(sum(gaps))


def weighted_kappa(labels: Ints, probs: Floats) -> float | None:
    """Quadratic weighted kappa of the predicted classes, taken as grades in their order.

    Returns:
        None where one grade is all that occurs and is predicted.
    """
    grades = np.arange(probs.shape[1])
    counts = _counts(labels, probs.argmax(axis=1), len(grades))
    distance = (grades[:, None] - grades) ** 2
    by_chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / len(labels)
    expected = (distance * by_chance).sum()
    return float(1 - (distance * counts).sum() / expected) if expected else None


def _one_against_rest(
    of_two: Callable[[NDArray[np.bool_], Floats], float], labels: Ints, probs: Floats
) -> float | None:
    """A figure of two classes for each class against all others, and their mean; None if one lacks.

    Of two classes the second is the positive one.
    """
    num_classes = probs.shape[1]
    if len(np.unique(labels)) < num_classes:
        return None
    shown = [1] if num_classes == 2 else range(num_classes)
    return float(np.mean([of_two(labels == c, probs[:, c]) for c in shown]))


def _counts(labels: Ints, predicted: Ints, num_classes: int) -> Ints:
    """How often each class [C] is taken for each [C]."""
    pairs = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


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
"""Kappa has a meaning where classes are grades; Brier and calibration are better when small."""


def confusion(labels: Ints, predicted: Ints, num_classes: int) -> list[list[int]]:
    """Counts [C][C]; rows are true classes."""
    counts: list[list[int]] = _counts(labels, predicted, num_classes).tolist()
    return counts


def _argmax_confusion(labels: Ints, probs: Floats) -> dict[str, Any]:
    return {"confusion": confusion(labels, probs.argmax(axis=1), probs.shape[1])}


def score_all(
    labels: NDArray[Any],
    probs: Floats,
    cases: Sequence[str],
    *,
    metrics: Mapping[str, Metric] = METRICS,
    details: Callable[[NDArray[Any], Floats], dict[str, Any]] = _argmax_confusion,
    seed: int = 0,
) -> dict[str, Any]:  # plain data, for JSON
    """Metrics with bootstrap intervals, and what else there is to say.

    The bootstrap draws patients with replacement, all slides of a patient together, since
    slides of one patient are not independent.

    Args:
        labels: Class indices [S], or what else the metrics take.
        probs: Probabilities [S, C], likewise.
        cases: The patient of each slide [S].
        metrics: The figures, those of classes by default.
        details: What has no interval, by default the confusion matrix.
        seed: Of the bootstrap.

    Returns:
        ``{metric: Score}``, the details, ``num_slides`` and ``num_cases``.
    """
    samples = resampled(cases, seed)
    scores: dict[str, Any] = {
        name: _with_interval(metric, labels, probs, samples) for name, metric in metrics.items()
    }
    return scores | {
        **details(labels, probs),
        "num_slides": len(labels),
        "num_cases": len(set(cases)),
    }


def resampled(cases: Sequence[str], seed: int) -> list[Ints]:
    """Indices of slides for each bootstrap sample of patients: all slides of one together."""
    rng = np.random.default_rng(seed)
    names, slide_case = np.unique(np.asarray(cases), return_inverse=True)
    slides_of = [np.flatnonzero(slide_case == i) for i in range(len(names))]
    return [
        np.concatenate([slides_of[i] for i in rng.integers(0, len(names), len(names))])
        for _ in range(BOOTSTRAP_SAMPLES)
    ]


def _with_interval(
    metric: Metric,
    labels: NDArray[Any],
    probs: Floats,
    samples: Sequence[Ints],
) -> Score:
    return interval(metric(labels, probs), bootstrap(metric, labels, probs, samples))


def bootstrap(
    metric: Metric,
    labels: NDArray[Any],
    probs: Floats,
    samples: Sequence[Ints],
) -> Floats:
    """A metric of every bootstrap sample; NaN where it is not defined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sample without a class is NaN here
        drawn = [metric(labels[sample], probs[sample]) for sample in samples]
    return np.array([np.nan if value is None else value for value in drawn])
