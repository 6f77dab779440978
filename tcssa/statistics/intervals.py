"""Figures with the intervals of a bootstrap, for classifiers and for answers alike."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray


class Score(TypedDict):
    """A figure with its 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


def interval(value: float | None, drawn: NDArray[np.float64]) -> Score:
    """Return a figure with the middle 95 % of its bootstrap samples.

    There is no interval where the figure is undefined in more than half of the samples: it would be
    an interval on the condition that all classes or groups occur, which is something else.

    Args:
        value: The figure; None if it is not defined.
        drawn: The figure in every sample; NaN where it is not defined.
    """
    defined = drawn[~np.isnan(drawn)]
    if value is None or not len(defined) or len(defined) < len(drawn) / 2:
        return Score(value=value, low=None, high=None)
    low, high = np.percentile(defined, [2.5, 97.5])
    return Score(value=value, low=float(low), high=float(high))
