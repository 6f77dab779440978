"""What answers are worth: accuracy over all rows, with intervals by slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


Status = Literal["answered", "invalid", "no_features", "ambiguous_features", "too_long", "missing"]
BOOTSTRAP_SAMPLES = 1000


@dataclass(frozen=True)
class Record:
    """What became of one question with options."""

    row_id: str
    slide: str
    answer_index: int
    """The right option, from 0."""
    predicted_index: int | None
    """The option that was answered; None where there is none."""
    status: str
    """``answered``, ``invalid`` (a reply that names no option), or why there was no reply:
    ``no_features``, ``too_long``, ``missing`` …; all but the first count as wrong."""
    categories: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Tally:
    """The scores of some rows."""

    num_rows: int
    num_slides: int
    statuses: dict[str, int]
    """How many rows there are of each status."""
    accuracy: Figure
    """Over all rows; a row without an answer counts as wrong."""
    accuracy_answered: Figure
    """Over rows that were answered with one of the options."""
    invalid_rate: float | None
    """Replies that name no option, among all replies."""


@dataclass(frozen=True)
class Scores:
    """The scores of a benchmark."""

    overall: Tally
    groups: dict[str, dict[str, Tally]]
    """By category (``broad``, ``narrow``, ``tumour``, ``task``) and its value."""
    macro: dict[str, Figure]
    """By category: the mean of its values' accuracies over all rows."""

    def to_dict(self) -> dict[str, Any]:  # plain data, for JSON
        """As plain data."""
        raise NotImplementedError


def score(
    records: Sequence[Record], *, seed: int = 0, num_samples: int = BOOTSTRAP_SAMPLES
) -> Scores:
    """Score answers, with intervals by bootstrap over slides."""
    raise NotImplementedError
