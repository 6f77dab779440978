"""Metrics of answers: accuracy over all rows, with intervals by slide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import UsageError
from tcssa.statistics.intervals import Score, interval
from tcssa.vqa.answering.answer_record import Status

BOOTSTRAP_SAMPLES = 1000
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Record:
    """The outcome of one question with options."""

    row_id: str
    slide: str
    answer_index: int
    """The right option, from 0."""
    predicted_index: int | None
    """The option that was answered, from 0; None without an answer."""
    status: Status
    categories: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tally:
    """The scores of some rows."""

    num_rows: int
    num_slides: int
    statuses: dict[str, int]
    """Number of rows of each status."""
    accuracy: Score
    """Over all rows; a row without an answer counts as wrong."""
    accuracy_answered: Score
    """Over rows that were answered with one of the options."""
    invalid_rate: float | None
    """Replies that name no option, among all replies."""


@dataclass(frozen=True)
class Scores:
    """The scores of a benchmark."""

    overall: Tally
    groups: dict[str, dict[str, Tally]]
    """By category (``broad``, ``narrow``, ``tumour``, ``task``) and its value."""
    macro: dict[str, Score]
    """By category: the mean of its values' accuracies over all rows."""

    def to_dict(self) -> dict[str, Any]:  # plain data, for JSON
        """Return the scores as plain data."""
        return asdict(self)


def score(
    records: Sequence[Record], *, seed: int = 0, num_samples: int = BOOTSTRAP_SAMPLES
) -> Scores:
    """Score answers, with intervals by bootstrap over slides.

    All rows of a slide are drawn together, since they are not independent.

    Args:
        records: One for each question.
        seed: Seed of the bootstrap.
        num_samples: Number of bootstrap samples.

    Raises:
        UsageError: ``records`` is empty.
    """
    if not records:
        raise UsageError("there is no answer to score")
    rows = _Rows(records, seed, num_samples)
    groups: dict[str, dict[str, Tally]] = {}
    macro: dict[str, Score] = {}
    names = sorted({name for record in records for name in record.categories})
    for name in names:
        values = [record.categories.get(name, "") for record in records]
        members = {v: np.array([v == other for other in values]) for v in sorted(set(values)) if v}
        groups[name] = {value: rows.tally(mask) for value, mask in members.items()}
        macro[name] = rows.macro(list(members.values()))
    return Scores(rows.tally(np.ones(len(records), bool)), groups, macro)


class _Rows:
    """Records as arrays, and how often each bootstrap sample draws each slide."""

    def __init__(self, records: Sequence[Record], seed: int, num_samples: int) -> None:
        self.statuses = [record.status for record in records]
        self.answered = np.array([record.status == "answered" for record in records])
        self.right = self.answered & np.array(
            [record.predicted_index == record.answer_index for record in records]
        )
        names, self.slide = np.unique([record.slide for record in records], return_inverse=True)
        rng = np.random.default_rng(seed)
        shares = np.full(len(names), 1 / len(names))
        self.draws = rng.multinomial(len(names), shares, size=num_samples)
        """Times that each sample draws each slide [samples, slides]."""

    def tally(self, mask: Bools) -> Tally:
        """Score the rows that a mask selects."""
        counts = Counter(self.statuses[row] for row in np.flatnonzero(mask))
        replies = counts["answered"] + counts["invalid"]
        return Tally(
            num_rows=int(mask.sum()),
            num_slides=len(np.unique(self.slide[mask])),
            statuses=dict(sorted(counts.items())),
            accuracy=self._figure(self.right & mask, mask),
            accuracy_answered=self._figure(self.right & mask, self.answered & mask),
            invalid_rate=counts["invalid"] / replies if replies else None,
        )

    def macro(self, masks: Sequence[Bools]) -> Score:
        """Average the accuracies of several groups; samples that lack a group do not count."""
        values = [float(self.right[mask].mean()) for mask in masks if mask.any()]
        if not values:
            return Score(value=None, low=None, high=None)
        drawn = np.mean([self._drawn(self.right & mask, mask) for mask in masks], axis=0)
        return interval(float(np.mean(values)), drawn)

    def _figure(self, hits: Bools, rows: Bools) -> Score:
        if not rows.any():
            return Score(value=None, low=None, high=None)
        return interval(float(hits.sum() / rows.sum()), self._drawn(hits, rows))

    def _drawn(self, hits: Bools, rows: Bools) -> NDArray[np.float64]:
        """Return the share of hits in each sample; NaN where it holds none of the rows."""
        count = self.draws.shape[1]
        hit = self.draws @ np.bincount(self.slide[hits], minlength=count)
        total = self.draws @ np.bincount(self.slide[rows], minlength=count)
        with np.errstate(invalid="ignore"):
            return np.where(total > 0, hit / np.maximum(total, 1), np.nan)
