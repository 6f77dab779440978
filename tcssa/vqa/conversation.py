"""Conversations about slides to learn from, and questions to be scored on."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]

LETTERS = string.ascii_uppercase
"""Names of the options."""
MAX_OPTIONS = len(LETTERS)

IMAGE_MARK = "<image>"
"""Marks where the slide stands in the first user turn, as SlideInstruct writes it; of several
slides, where each of them stands, or all."""
SLIDES_BETWEEN = " + "
"""Stands between the names of slides that a row is about together."""


@dataclass(frozen=True)
class Turn:
    """The words of one side in a conversation."""

    role: Role
    text: str
    """In the first user turn the first ``<image>`` marks where the slide stands; without one the
    slide stands first. Any other is plain text. Of several slides see `marks_fit`."""


@dataclass(frozen=True)
class Conversation:
    """One row to learn from."""

    row_id: str
    slides: tuple[str, ...]
    """The slide as the file names it, or several that the row is about together."""
    turns: tuple[Turn, ...]
    """User and assistant by turns; a system prompt may stand first."""
    source: str
    """Its place, as ``file.json, row 12``."""

    @property
    def slide(self) -> str:
        """The slide, or the slides with `` + `` between them."""
        return SLIDES_BETWEEN.join(self.slides)


@dataclass(frozen=True)
class Question:
    """One row of a benchmark."""

    row_id: str
    slides: tuple[str, ...]
    """The slide, or the patient, as the file names it, or several that it is about together."""
    text: str
    """The question. It holds an ``<image>`` for each of several slides, or no mark at all."""
    options: tuple[str, ...]
    """The options to choose from; none for an open question."""
    answer: str | None
    """The letter of the right option, from A; None for an open question."""
    answer_text: str
    """The right option, or the answer to an open question."""
    categories: Mapping[str, str]
    """Those that the benchmark has of: broad, narrow, tumour, task."""
    source: str
    """Its place, as ``file.csv, row 12``."""

    @property
    def slide(self) -> str:
        """The slide, or the slides with `` + `` between them."""
        return SLIDES_BETWEEN.join(self.slides)

    @property
    def answer_index(self) -> int:
        """The right option, counted from 0; only for a question with options."""
        assert self.answer is not None
        return LETTERS.index(self.answer)


def marks_fit(num_marks: int, num_slides: int) -> bool:
    """Tell whether marks say where slides stand: no mark or one for all together, or one for each.

    Args:
        num_marks: The marks ``<image>`` in what the user says, over all turns.
        num_slides: Slides that the row names; of a single one only the first mark counts.
    """
    return num_slides == 1 or num_marks in (0, 1, num_slides)


def same_words(text: str) -> str:
    """Normalise a text, so that texts which differ in case, spaces or a full stop become equal."""
    return " ".join(text.lower().split()).strip(" .")
