"""Shares of workers in the work of a crew, and the figures of all of them as those of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, ClassVar

Join = Callable[[Sequence[Any]], Any]
"""Makes one figure of those of several workers."""


@dataclass
class Share:
    """One worker's part in the work."""

    worker: str
    num_slides: int = 0
    report: Any = None
    """Figures of its work; None if it died, or had not begun when all was done."""
    died: bool = False


@dataclass
class SharedWork:
    """Figures of work that several workers may share."""

    joins: ClassVar[Mapping[str, Join]] = {}
    """How each figure of theirs becomes one, by the name of the field."""
    workers: list[Share] = field(default_factory=list, kw_only=True)
    """What each worker did, where several shared the slides."""

    def add_up(self, shares: Sequence[Share]) -> None:
        """Take the figures of workers, beside those of workers before them."""
        self.workers = [*self.workers, *shares]
        ended = [share.report for share in self.workers if share.report is not None]
        for name, join in self.joins.items() if ended else ():
            setattr(self, name, join([getattr(figures, name) for figures in ended]))


def each_counted(names: Sequence[str | None]) -> str | None:
    """Return names with how often each is there, as ``2 x cpu``; None where there are none."""
    numbers = Counter(name for name in names if name is not None)
    return ", ".join(f"{number} x {name}" for name, number in numbers.items()) or None


def each_once(lists: Iterable[Iterable[str]]) -> list[str]:
    """Return the members of lists, each once, in their order."""
    return list(dict.fromkeys(member for members in lists for member in members))


def sums_by_name(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of each count."""
    return dict(sum((Counter(each) for each in counts), Counter()))


def means_by_name(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each value; where one is missing it is 0."""
    return {name: fmean(each.get(name, 0.0) for each in values) for name in each_once(values)}
