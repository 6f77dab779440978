"""What a comparison of runs found."""

from __future__ import annotations

from dataclasses import dataclass

from tcssa.statistics.intervals import Score


@dataclass(frozen=True)
class Compared:
    """One run among others."""

    name: str
    model: str
    score: Score
    difference: Score | None
    """From the first run; None for that one itself."""
    p_value: float | None
    """Two-sided, of that difference; None where it has no interval."""
    fold_mean: float | None
    fold_sd: float | None
    """Over the run's folds: how much training sets differ, not how sure the figure is."""


@dataclass(frozen=True)
class Comparison:
    """Runs compared by one metric."""

    metric: str
    num_slides: int
    num_cases: int
    runs: list[Compared]
