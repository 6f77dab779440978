"""Replies to questions with options, the same for every method of asking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from tcssa.errors import TcssaError
from tcssa.vqa.answering.prefill import Prompt
from tcssa.vqa.conversation import MAX_OPTIONS

if TYPE_CHECKING:
    from tcssa.vqa.model.model import SlideLanguageModel
    from tcssa.vqa.prompts.prompt import PromptBuilder


@dataclass(frozen=True)
class Reply:
    """The answer to one question."""

    predicted: int | None
    """The option chosen, counted from 0 as they were shown; None if the answer names none."""
    log_probs: tuple[float, ...] | None = None
    """Log-probability of each option, by its letter or its text, normalised over the options; None
    where text was generated."""
    option_mass: float | None = None
    """Total probability of the letters, or the texts, among all that the model could say. Near 0 it
    would say none of them, and comparing them tells little."""
    text: str | None = None
    """The generated text."""


def likeliest(log_probs: Sequence[float]) -> Reply:
    """Return the reply that the options' log-probabilities stand for; of equals the first wins."""
    total = float(torch.tensor(log_probs, dtype=torch.float64).logsumexp(0))
    best = max(range(len(log_probs)), key=log_probs.__getitem__)
    normalised = tuple(value - total for value in log_probs)
    return Reply(best, normalised, option_mass=math.exp(total))


def require_options(options: Sequence[Sequence[str]]) -> None:
    """Check that questions can be answered by comparing their options.

    Raises:
        TcssaError: A question has fewer than 2 or more than 26 options.
    """
    for shown in options:
        if not 2 <= len(shown) <= MAX_OPTIONS:
            raise TcssaError(f"a question has {len(shown)} options, 2 to {MAX_OPTIONS} can be")


class Method(Protocol):
    """A way to get answers out of a language model."""

    name: str
    shows_options: bool
    """True if the options stand in the prompt."""

    def room(self, options: Sequence[str]) -> int:
        """Return the most tokens that the answer to a question with these options may take."""

    def reply(self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]]) -> list[Reply]:
        """Answer questions about one slide; no answer depends on the other questions.

        Args:
            prompts: The questions, with their options if the method shows them.
            options: The options of each, in the order they are shown.
        """


@dataclass(eq=False)
class ComparesOptions:
    """Base of the methods that compare how likely a question's options are.

    Attributes:
        model: The model, in evaluation mode.
        prompts: Its prompt builder.
        batch_size: Prompts read at a time.
    """

    model: SlideLanguageModel
    prompts: PromptBuilder
    batch_size: int = 16
