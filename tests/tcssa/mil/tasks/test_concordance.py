"""Survival figures against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tcssa.mil.tasks.concordance import concordance, kaplan_meier, log_rank

PATIENTS = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 4)), min_size=1, max_size=12
)


@given(PATIENTS)
def test_concordance_counts_pairs(patients: list[tuple[int, bool, int]]) -> None:
    comparable = right = 0.0
    for time, event, risk in patients:
        for other_time, other_event, other_risk in patients:
            if event and (time < other_time or (time == other_time and not other_event)):
                comparable += 1
                right += 1.0 if risk > other_risk else 0.5 if risk == other_risk else 0.0
    times, events, risks = (np.array(column) for column in zip(*patients, strict=True))
    expected = right / comparable if comparable else None
    assert concordance(times.astype(float), events, risks.astype(float)) == expected


def test_concordance_without_censoring_or_ties_is_kendalls_tau() -> None:
    rng = np.random.default_rng(0)
    times, risks = rng.permutation(40).astype(float), rng.permutation(40).astype(float)
    tau = stats.kendalltau(-times, risks).statistic
    assert concordance(times, np.ones(40, bool), risks) == pytest.approx((tau + 1) / 2)


def test_no_comparable_pair_has_no_figure() -> None:
    times = np.array([1.0, 2.0])
    assert concordance(times, np.array([False, True]), np.array([0.0, 1.0])) is None
    assert log_rank(times, np.array([False, False]), np.array([True, False])) is None
    assert log_rank(times, np.array([True, True]), np.array([True, True])) is None


def test_kaplan_meier_by_hand() -> None:
    # of four, one dies at 1; of the three left one is censored at 2; of two, one dies at 3
    curve = kaplan_meier(np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, False]))
    steps = dict(zip(curve.times, curve.surviving, strict=True))
    assert steps[0.0] == 1
    assert steps[1.0] == pytest.approx(3 / 4)
    assert steps[3.0] == pytest.approx(3 / 4 * 1 / 2)


def test_log_rank_by_hand() -> None:
    times, events = np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4, bool)
    high = np.array([True, True, False, False])
    # expected deaths among the high at each time: 2/4, 1/3, 0, 0
    expected, variance = 1 / 2 + 1 / 3, 1 / 4 + 2 / 9
    statistic = (2 - expected) ** 2 / variance
    assert log_rank(times, events, high) == pytest.approx(stats.chi2.sf(statistic, 1))
