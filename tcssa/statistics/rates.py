"""Sensitivity and specificity of decisions, with intervals by patient."""

from __future__ import annotations

from collections.abc import Sequence

from tcssa.statistics.intervals import Score, interval
from tcssa.statistics.metrics import Floats, Ints, bootstrap


def rates(labels: Ints, decided: Ints, positive: int, samples: Sequence[Ints]) -> dict[str, Score]:
    """Compute how many of a class are found, and how many of the others are left alone.

    Args:
        labels: True classes, [S].
        decided: Classes decided for, [S].
        positive: The class.
        samples: Indices of slides for each sample, as `resampled` draws them.

    Returns:
        ``sensitivity`` and ``specificity``; of no value where the class, or all others, do not
        occur.
    """

    def sensitivity(truth: Ints, found: Floats) -> float | None:
        own = found[truth == positive]
        return float((own == positive).mean()) if len(own) else None

    def specificity(truth: Ints, found: Floats) -> float | None:
        others = found[truth != positive]
        return float((others != positive).mean()) if len(others) else None

    return {
        metric.__name__: interval(
            metric(labels, decided.astype(float)),
            bootstrap(metric, labels, decided.astype(float), samples),
        )
        for metric in (sensitivity, specificity)
    }
