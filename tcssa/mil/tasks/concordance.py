"""Survival metrics: how well a risk orders the times of events, and how well it parts patients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcssa.statistics.metrics import Floats

Bools = NDArray[np.bool_]


class Curve(NamedTuple):
    """A Kaplan–Meier curve: steps, each lasting until the next time."""

    times: Floats
    surviving: Floats
    """Share that survives beyond each time."""


def concordance(times: Floats, events: Bools, risks: Floats) -> float | None:
    """Compute Harrell's c-index.

    It is the share of comparable pairs in which the patient with the higher risk had the event
    first. A pair is comparable where one had an event, and the other was seen later, or was
    censored at the same time. Equal risks count as half.

    Args:
        times: Time until the event, or until the patient was last seen, [P].
        events: Whether the event happened, [P]; False is censored.
        risks: Predicted risks, higher for an earlier event, [P].

    Returns:
        The c-index, or None where no pair is comparable.
    """
    comparable = right = 0.0
    for index in np.flatnonzero(events):
        later = (times > times[index]) | ((times == times[index]) & ~events)
        comparable += later.sum()
        right += (risks[later] < risks[index]).sum() + 0.5 * (risks[later] == risks[index]).sum()
    return float(right / comparable) if comparable else None


def log_rank(times: Floats, events: Bools, high: Bools) -> float | None:
    """Return the p-value of the log-rank test between two groups.

    Args:
        times: Time until the event, or until the patient was last seen, [P].
        events: Whether the event happened, [P]; False is censored.
        high: Whether a patient belongs to the first group, [P].

    Returns:
        The p-value, or None where a group is empty or there is no event.
    """
    from scipy.stats import logrank  # type: ignore[import-untyped]  # ships no types

    if not events.any() or high.all() or not high.any():
        return None
    groups = [_censored(times[group], events[group]) for group in (high, ~high)]
    return float(logrank(*groups).pvalue)


def kaplan_meier(times: Floats, events: Bools) -> Curve:
    """Compute the Kaplan–Meier estimate, from time zero on.

    Args:
        times: Time until the event, or until the patient was last seen, [P].
        events: Whether the event happened, [P]; False is censored.
    """
    from scipy.stats import ecdf

    survival = ecdf(_censored(times, events)).sf
    return Curve(
        np.concatenate([[0.0], survival.quantiles]),
        np.concatenate([[1.0], survival.probabilities]),
    )


def _censored(times: Floats, events: Bools) -> object:
    from scipy.stats import CensoredData

    return CensoredData.right_censored(times, ~events)
