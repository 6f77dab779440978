"""The gap between a pooled ranking and those of the folds, where their models' scales differ."""

from __future__ import annotations

_RANKINGS = {"auc": "AUC", "c_index": "c-index"}
"""Metrics that compare slides with each other, of several folds too once they are pooled."""
_LARGEST_GAP = 0.1


def mixed_scales(metric: str, pooled: float | None, fold_mean: float | None) -> str | None:
    """Say that a pooled ranking is far below those of the folds.

    Each fold's model ranks its own test slides; pooled, slides of models whose scales differ are
    ranked among each other, so the figure falls although no model ranks badly.

    Args:
        metric: Name of the metric.
        pooled: The metric of all test slides; None where it is not defined.
        fold_mean: Mean of the folds' own.

    Returns:
        A sentence; None where there is no such gap, or the metric ranks nothing.
    """
    if metric not in _RANKINGS or pooled is None or fold_mean is None:
        return None
    if fold_mean - pooled <= _LARGEST_GAP:
        return None
    return (
        f"the pooled {_RANKINGS[metric]} {pooled:.3f} is below the folds' own, {fold_mean:.3f} on "
        "average: the scales of their models differ, as after a short training, and differences "
        "from other runs are of that too; train longer"
    )
