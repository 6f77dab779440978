"""Names of metrics in texts and tables, and the order in which they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_TITLES = {
    "mean_headline": "mean of each target's own figure",
    "c_index": "c-index",
    "r2": "R²",
    "pearson": "Pearson r",
    "spearman": "Spearman ρ",
    "mean_absolute_error": "mean absolute error (low is good)",
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "auprc": "AUPRC",
    "brier": "Brier score (low is good)",
    "calibration_error": "calibration error (low is good)",
    "weighted_kappa": "quadratic weighted kappa",
    "mean_error": "mean error in grades (low is good)",
}


def written(metric: str) -> str:
    """Return a metric's name as written in a text: AUC for ``auc``, macro F1 for ``macro_f1``.

    A target may precede it, as in ``ER: auc``.
    """
    target, colon, name = metric.rpartition(": ")
    return target + colon + _TITLES.get(name, name.replace("_", " ")).partition(" (")[0]


def titles(metrics: Iterable[str], headline: str) -> Mapping[str, str]:
    """Return titles of metrics with their remarks, the headline first.

    Args:
        metrics: Names of metrics; names of other things are ignored.
        headline: The metric that stands for the others.

    Returns:
        Name of metric to title.
    """
    names = set(metrics)
    order = [headline, *(name for name in _TITLES if name != headline)]
    found = {name: _TITLES[name] for name in order if name in names}
    if headline != "weighted_kappa" and "weighted_kappa" in found:
        found["weighted_kappa"] = "weighted kappa, if classes are grades"
    return found
