"""Metrics of predicted numbers: true ones [S] against predictions [S, 1]."""

from __future__ import annotations

import numpy as np

from tcssa.statistics.metrics import Floats, Metric


def r_squared(truth: Floats, values: Floats) -> float | None:
    """Compute the share of variance that is explained, 1 − Σ (y − ŷ)² / Σ (y − ȳ)².

    Args:
        truth: True numbers [S].
        values: Predicted numbers [S, 1].

    Returns:
        R², 1 at most; None where all true numbers are the same.
    """
    if not _differ(truth):
        return None
    errors, spread = truth - values[:, 0], truth - truth.mean()
    return float(1 - (errors @ errors) / (spread @ spread))


def pearson(truth: Floats, values: Floats) -> float | None:
    """Compute Pearson's correlation.

    Args:
        truth: True numbers [S].
        values: Predicted numbers [S, 1].

    Returns:
        The correlation, −1 to 1; None where all of the true or of the predicted are the same.
    """
    return _correlation(truth, values[:, 0])


def spearman(truth: Floats, values: Floats) -> float | None:
    """Compute Spearman's correlation, Pearson's of the ranks; equal numbers share their mean rank.

    Args:
        truth: True numbers [S].
        values: Predicted numbers [S, 1].

    Returns:
        The correlation, −1 to 1; None where all of the true or of the predicted are the same.
    """
    from scipy.stats import rankdata  # type: ignore[import-untyped]  # ships no types

    return _correlation(rankdata(truth), rankdata(values[:, 0]))


def mean_absolute_error(truth: Floats, values: Floats) -> float:
    """Compute the mean distance of the predictions from the truth.

    Args:
        truth: True numbers [S].
        values: Predicted numbers [S, 1].
    """
    return float(np.abs(truth - values[:, 0]).mean())


def _correlation(one: Floats, other: Floats) -> float | None:
    if not (_differ(one) and _differ(other)):
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _differ(numbers: Floats) -> bool:
    return bool((numbers != numbers[0]).any())


CONTINUOUS_METRICS: dict[str, Metric] = {
    "r2": r_squared,
    "pearson": pearson,
    "spearman": spearman,
    "mean_absolute_error": mean_absolute_error,
}
"""For the mean absolute error, lower is better."""
