"""Faults in the rows of a question file, collected so that all are reported at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tcssa.errors import one_line
from tcssa.vqa.settings import TOGETHER, SeveralSlides

MALFORMED = "malformed row"
EMPTY_QUESTION = "empty question"
EMPTY_ANSWER = "empty answer"
OUTSIDE = "answer not among the options"
REPEATED_OPTION = "option stands twice"
SEVERAL_SLIDES = "several slides"
SEVERAL_TURNS = "more than one question"
REPEATED_ID = "id stands twice"
REPEATED_ROW = "row stands twice"


@dataclass(frozen=True)
class Fault:
    """One thing wrong with one row."""

    row: int
    """Counted from 1; the header of a table is not counted."""
    kind: str
    """A few words that are the same for all faults of this kind."""
    detail: str
    left_out: bool = True
    """True if the row cannot be used; else it is used, and the fault is only reported."""

    def __post_init__(self) -> None:
        """Shorten the detail, which may quote a long text of the file, to one line."""
        object.__setattr__(self, "detail", one_line(self.detail))

    def __str__(self) -> str:
        return f"row {self.row}: {self.detail}"


class FaultError(Exception):
    """Ends the reading of one row; the reader keeps the fault and goes on."""

    def __init__(self, row: int, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(row, kind, detail)


def slides_named(
    found: Sequence[Any], number: int, field: str, several: SeveralSlides
) -> tuple[str, ...]:
    """Return the slides that a row names, if they can be shown.

    Args:
        found: What the row names.
        number: Number of the row, from 1.
        field: The field that names them.
        several: What to do with several slides.

    Raises:
        FaultError: The row names no slide, one of them twice, or several where they are refused.
    """
    if not found or not all(isinstance(name, str) and name.strip() for name in found):
        wanted = "its slides" if several in TOGETHER else "one slide"
        raise FaultError(number, MALFORMED, f"{field!r} must name {wanted}, found {found!r}")
    if len(found) > 1 and several not in TOGETHER:
        raise FaultError(
            number,
            SEVERAL_SLIDES,
            f"{field!r} must name one slide, found {found!r}; --several merge or concat shows all",
        )
    if twice := [name for name in found if found.count(name) > 1]:
        raise FaultError(number, MALFORMED, f"{field!r} names {twice[0]!r} twice")
    return tuple(found)


def count_faults(faults: Iterable[Fault]) -> dict[str, int]:
    """Count the faults of each kind, the most frequent first."""
    return dict(Counter(fault.kind for fault in faults).most_common())


def num_left_out(faults: Iterable[Fault]) -> int:
    """Count the rows that cannot be used."""
    return len({fault.row for fault in faults if fault.left_out})
