"""What predictions are worth, with intervals by patient."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BOOTSTRAP_SAMPLES = 1000


class Score(TypedDict):
    """A figure with its 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


def auc(labels: Ints, probs: Floats) -> float | None:
    """Area under the ROC curve; macro one-vs-rest for more than two classes.

    Args:
        labels: Class indices [S].
        probs: Probabilities [S, C].

    Returns:
        None where a class does not occur among the labels.
    """
    from sklearn.metrics import roc_auc_score

    num_classes = probs.shape[1]
    if len(np.unique(labels)) < num_classes:
        return None
    if num_classes == 2:
        return float(roc_auc_score(labels, probs[:, 1]))
    return float(roc_auc_score(labels, probs, multi_class="ovr", labels=range(num_classes)))


def balanced_accuracy(labels: Ints, probs: Floats) -> float:
    """Mean recall of the classes that occur."""
    predicted = probs.argmax(axis=1)
    return float(np.mean([(predicted[labels == c] == c).mean() for c in np.unique(labels)]))


def accuracy(labels: Ints, probs: Floats) -> float:
    """Share of slides that are right."""
    return float((probs.argmax(axis=1) == labels).mean())


def macro_f1(labels: Ints, probs: Floats) -> float:
    """Mean F1 over all classes; 0 for one that is never predicted."""
    from sklearn.metrics import f1_score

    classes = range(probs.shape[1])
    predicted = probs.argmax(axis=1)
    return float(f1_score(labels, predicted, labels=classes, average="macro", zero_division=0))


METRICS: dict[str, Callable[[Ints, Floats], float | None]] = {
    "auc": auc,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "accuracy": accuracy,
}


def point_scores(labels: Ints, probs: Floats) -> dict[str, float | None]:
    """All metrics of one fold, without intervals: a fold is too small to have any."""
    return {name: metric(labels, probs) for name, metric in METRICS.items()}


def score_all(
    labels: Ints, probs: Floats, cases: Sequence[str], *, seed: int = 0
) -> dict[str, Any]:  # plain data, for JSON
    """All metrics with bootstrap intervals, and the confusion matrix.

    The bootstrap draws patients with replacement, all slides of a patient together, since
    slides of one patient are not independent.

    Args:
        labels: Class indices [S].
        probs: Probabilities [S, C].
        cases: The patient of each slide [S].
        seed: Of the bootstrap.

    Returns:
        ``{metric: Score}``, and ``confusion`` [C][C] (rows are true classes), ``num_slides``,
        ``num_cases``.
    """
    from sklearn.metrics import confusion_matrix

    samples = _resampled(np.asarray(cases), seed)
    scores: dict[str, Any] = {
        name: _with_interval(metric, labels, probs, samples) for name, metric in METRICS.items()
    }
    matrix = confusion_matrix(labels, probs.argmax(axis=1), labels=range(probs.shape[1]))
    return scores | {
        "confusion": matrix.tolist(),
        "num_slides": len(labels),
        "num_cases": len(set(cases)),
    }


def _resampled(cases: NDArray[Any], seed: int) -> list[Ints]:
    """Indices of slides for each bootstrap sample of patients."""
    rng = np.random.default_rng(seed)
    names, slide_case = np.unique(cases, return_inverse=True)
    slides_of = [np.flatnonzero(slide_case == i) for i in range(len(names))]
    return [
        np.concatenate([slides_of[i] for i in rng.integers(0, len(names), len(names))])
        for _ in range(BOOTSTRAP_SAMPLES)
    ]


def _with_interval(
    metric: Callable[[Ints, Floats], float | None],
    labels: Ints,
    probs: Floats,
    samples: Sequence[Ints],
) -> Score:
    value = metric(labels, probs)
    if value is None:
        return Score(value=None, low=None, high=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sample without a class is left out below
        drawn = [metric(labels[sample], probs[sample]) for sample in samples]
    defined = [v for v in drawn if v is not None]
    if len(defined) < BOOTSTRAP_SAMPLES / 2:  # an interval given that all classes occur, it is not
        return Score(value=value, low=None, high=None)
    low, high = np.percentile(defined, [2.5, 97.5])
    return Score(value=value, low=float(low), high=float(high))
