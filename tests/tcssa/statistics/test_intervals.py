"""Figures with the intervals of a bootstrap."""

import math

import numpy as np

from tcssa.statistics.intervals import interval

NAN = math.nan


def test_the_interval_leaves_out_a_fortieth_at_either_end() -> None:
    drawn = np.random.default_rng(0).permutation(np.arange(1001.0))
    assert interval(480.0, drawn) == {"value": 480.0, "low": 25.0, "high": 975.0}


def test_samples_without_the_figure_are_left_out_up_to_half_of_them() -> None:
    half = np.array([NAN, 3.0, NAN, 5.0])
    low = 3.0 + 0.025 * 2
    found = interval(4.0, half)
    assert found["low"] is not None
    assert math.isclose(found["low"], low)
    more = np.array([NAN, 3.0, NAN, 5.0, NAN])
    assert interval(4.0, more) == {"value": 4.0, "low": None, "high": None}


def test_what_is_not_defined_has_no_interval() -> None:
    nothing = {"low": None, "high": None}
    assert interval(None, np.arange(10.0)) == {"value": None, **nothing}
    assert interval(0.5, np.array([])) == {"value": 0.5, **nothing}
    assert interval(0.5, np.full(4, NAN)) == {"value": 0.5, **nothing}
