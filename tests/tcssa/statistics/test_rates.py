"""Sensitivity and specificity of decisions."""

import numpy as np

from tcssa.statistics.metrics import resampled
from tcssa.statistics.rates import rates


def test_they_are_shares_of_the_class_and_of_the_others() -> None:
    labels = np.array([1, 1, 1, 1, 0, 0, 2, 2])
    decided = np.array([1, 1, 1, 0, 0, 1, 2, 2])
    found = rates(labels, decided, 1, resampled([str(i) for i in range(8)], 0))
    assert found["sensitivity"]["value"] == 3 / 4
    assert found["specificity"]["value"] == 3 / 4
    for score in found.values():
        assert score["low"] is not None
        assert score["low"] <= 3 / 4 <= (score["high"] or 0)


def test_a_class_that_does_not_occur_has_no_sensitivity() -> None:
    labels, decided = np.array([0, 0, 0]), np.array([0, 1, 0])
    found = rates(labels, decided, 1, resampled(["a", "b", "c"], 0))
    assert found["sensitivity"] == {"value": None, "low": None, "high": None}
    assert found["specificity"]["value"] == 2 / 3
