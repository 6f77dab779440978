"""The choice of a threshold on slides of known label."""

import numpy as np
import pytest

from tcssa.mil.calibration.rule import ThresholdRule
from tcssa.mil.calibration.threshold import choose_threshold

IS_POSITIVE = np.array([False, False, False, True, True, False, True, True])
PROBS = np.array([0.05, 0.1, 0.2, 0.3, 0.35, 0.6, 0.8, 0.9])


def chosen(rule: str) -> float:
    return choose_threshold(IS_POSITIVE, PROBS, ThresholdRule.parse(rule))


def test_youden_takes_the_largest_sum_of_sensitivity_and_specificity() -> None:
    assert chosen("youden") == pytest.approx(0.25)  # all positives, and 3 of 4 others left alone

    def youden(threshold: float) -> float:
        found = threshold <= PROBS
        return float(found[IS_POSITIVE].mean() - found[~IS_POSITIVE].mean())

    assert youden(chosen("youden")) == max(youden(t) for t in np.linspace(0, 1, 201))


def test_one_half_stands_where_no_other_threshold_is_better() -> None:
    parted = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.3, 0.9, 0.95])
    assert choose_threshold(IS_POSITIVE, parted, ThresholdRule()) == 0.5
    alike = np.full(8, 0.9)
    assert choose_threshold(IS_POSITIVE, alike, ThresholdRule()) == 0.5


def test_a_wanted_sensitivity_takes_the_highest_threshold_that_reaches_it() -> None:
    assert chosen("sensitivity=0.5") == pytest.approx(0.7)
    assert chosen("sensitivity=0.51") == pytest.approx(0.325)
    assert chosen("sensitivity=1") == pytest.approx(0.25)


def test_a_given_threshold_is_taken() -> None:
    assert chosen("0.4") == 0.4
