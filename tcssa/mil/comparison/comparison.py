"""The result of a comparison of runs."""

from __future__ import annotations

from dataclasses import dataclass

from tcssa.statistics.intervals import Score


@dataclass(frozen=True)
class Compared:
    """One run of a comparison."""

    name: str
    model: str
    score: Score
    difference: Score | None
    """Difference from the first run; None for the first run itself."""
    p_value: float | None
    """Two-sided p-value of the difference; None if the difference has no interval."""
    fold_mean: float | None
    fold_sd: float | None
    """SD over the run's folds: how much trainings differ, not how certain the score is."""


@dataclass(frozen=True)
class Comparison:
    """Runs compared by one metric."""

    metric: str
    num_slides: int
    num_cases: int
    runs: list[Compared]
