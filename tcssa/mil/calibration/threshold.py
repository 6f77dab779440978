"""The threshold from which a slide counts as positive, chosen on slides of known label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tcssa.mil.calibration.rule import ThresholdRule
from tcssa.statistics.metrics import Floats

MIDDLE = 0.5
"""The threshold of the most probable of two classes."""


def choose_threshold(is_positive: NDArray[np.bool_], probs: Floats, rule: ThresholdRule) -> float:
    """Choose a threshold; slides of this probability and above are positive.

    Candidates lie half-way between neighbouring probabilities. By Youden's index the one with the
    largest sum of sensitivity and specificity is taken, and of several the nearest to one half;
    for a wanted sensitivity the highest that reaches it.

    Args:
        is_positive: Which slides are positive, [S]; some are, and some are not.
        probs: Probability of the positive class, [S].
        rule: How to choose.
    """
    if rule.fixed is not None:
        return rule.fixed
    levels = np.unique(probs)
    candidates = np.unique([0.0, MIDDLE, *(levels[1:] + levels[:-1]) / 2])
    sensitivity = _share_from(probs[is_positive], candidates)
    if rule.sensitivity is not None:
        return float(candidates[sensitivity >= rule.sensitivity - 1e-9].max())
    youden = sensitivity - _share_from(probs[~is_positive], candidates)
    best = candidates[np.isclose(youden, youden.max())]
    return float(best[np.abs(best - MIDDLE).argmin()])


def _share_from(probs: Floats, thresholds: Floats) -> Floats:
    """Return for each threshold the share of probabilities that reach it."""
    below = np.searchsorted(np.sort(probs), thresholds, side="left")
    share: Floats = 1 - below / len(probs)
    return share
