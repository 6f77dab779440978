"""What answering without looking at the slide would score, on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tcssa.vqa.conversation import Question
from tcssa.vqa.metrics import Scores


@dataclass(frozen=True)
class Baseline:
    """A rule that answers without a slide."""

    name: str
    """``majority_letter``, ``majority_option_text``, ``longest_option``."""
    rule: str
    """The rule in words, such as ``always B``."""
    fitted_on: str
    """``nothing``, ``these rows``, ``these rows without the slide's own``, ``training rows``."""
    scores: Scores


def baselines(
    questions: Sequence[Question], *, train: Sequence[Question] | None = None, seed: int = 0
) -> list[Baseline]:
    """Score every baseline on the questions that have options.

    Args:
        questions: The rows to answer; open questions are left out.
        train: Rows of the training split, to fit on; None fits on the questions themselves.
        seed: Of the bootstrap.
    """
    raise NotImplementedError
