"""Ranking of positives above negatives by score; equal scores count as neither above.

Implemented here because a bootstrap calls it a thousand times, and scikit-learn's checks of its
arguments take most of its time on the few hundred slides of a cohort.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def area(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Compute the area under the ROC curve: the share of pairs in order, ties as half.

    Args:
        positive: Which slides are positive, [S]; some are, and some are not.
        scores: Score of each slide, [S].
    """
    levels, level = np.unique(scores, return_inverse=True)
    negatives = np.bincount(level[~positive], minlength=len(levels))
    below = np.cumsum(negatives) - negatives / 2
    return float(below[level[positive]].sum() / (positive.sum() * negatives.sum()))


def average_precision(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Compute the mean precision over the recall, one step for each distinct score.

    Args:
        positive: Which slides are positive, [S]; some are.
        scores: Score of each slide, [S].
    """
    levels, level = np.unique(-scores, return_inverse=True)
    found = np.bincount(level[positive], minlength=len(levels))
    precision = np.cumsum(found) / np.cumsum(np.bincount(level, minlength=len(levels)))
    return float((found * precision).sum() / positive.sum())
