"""What a model says to a question with options, by whichever method it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tcssa.vqa.prefill import Prompt


@dataclass(frozen=True)
class Reply:
    """The answer to one question."""

    predicted: int | None
    """The option chosen, counted from 0 as they were shown; None if the answer names none."""
    log_probs: tuple[float, ...] | None = None
    """Of each option's letter, normalised over the options; None where text was generated."""
    letter_mass: float | None = None
    """The share of all next tokens' probability that the letters have together. Near 0 the model
    would not answer with a letter at all, and comparing letters says little."""
    text: str | None = None
    """What was generated."""


class Method(Protocol):
    """A way to get answers out of a language model."""

    name: str

    def reply(self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]]) -> list[Reply]:
        """Answer questions of one slide; none depends on which others stand beside it.

        Args:
            prompts: The questions, options included.
            options: The options of each, as they are shown.
        """
