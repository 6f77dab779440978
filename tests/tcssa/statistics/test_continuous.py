"""Metrics of numbers, against cases that can be told by hand."""

import numpy as np
import pytest

from tcssa.statistics.continuous import CONTINUOUS_METRICS

TRUTH = np.array([1.0, 2.0, 3.0, 6.0])


def scores(truth: np.ndarray, values: list[float]) -> dict[str, float | None]:
    column = np.array(values)[:, None]
    return {name: metric(truth, column) for name, metric in CONTINUOUS_METRICS.items()}


def test_a_perfect_prediction_has_perfect_figures() -> None:
    assert scores(TRUTH, [1, 2, 3, 6]) == pytest.approx(
        {"r2": 1, "pearson": 1, "spearman": 1, "mean_absolute_error": 0}
    )


def test_a_line_that_is_off_correlates_and_explains_less() -> None:
    assert scores(TRUTH, [3, 4, 5, 8]) == pytest.approx(
        {"r2": 1 - 16 / 14, "pearson": 1, "spearman": 1, "mean_absolute_error": 2}
    )


def test_ranks_ignore_the_distance_and_share_ties() -> None:
    found = scores(TRUTH, [0, 0, 1, 100])
    assert found["spearman"] == pytest.approx(np.corrcoef([1, 2, 3, 4], [1.5, 1.5, 3, 4])[0, 1])
    assert found["pearson"] == pytest.approx(np.corrcoef(TRUTH, [0, 0, 1, 100])[0, 1])


def test_what_is_constant_has_no_correlation() -> None:
    assert scores(TRUTH, [3, 3, 3, 3]) == {
        "r2": 0,
        "pearson": None,
        "spearman": None,
        "mean_absolute_error": 1.5,
    }
    assert scores(np.full(4, 0.1), [1, 2, 3, 4])["r2"] is None
