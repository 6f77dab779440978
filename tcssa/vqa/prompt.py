"""The one prompt builder: training, benchmarks and `tcssa ask` all speak through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tcssa.vqa.conversation import Turn
from tcssa.vqa.template import ChatTemplate

IGNORED = -100
"""The label of a token that is not learned."""


@dataclass(frozen=True)
class Supervised:
    """A conversation as tokens, with what is to be learned of it."""

    input_ids: list[int]
    """[L], one placeholder for each visual token."""
    labels: list[int]
    """[L]: the token itself where the assistant speaks or ends its turn, else -100."""
    num_supervised: int
    """Labels that are not -100; at least 2."""


class PromptBuilder:
    """Builds prompts and training rows for one tokenizer.

    Args:
        tokenizer: A fast tokenizer of transformers, hence Any.
        template: The marks around each side's words.
        system: System prompt; None leaves it to the template.
        image_token: The token that visual tokens replace; chosen if not given. It is one that the
            vocabulary has, so the model's embeddings keep their size.

    Attributes:
        tokenizer: As given.
        image_token: Its text.
        image_token_id: Its id.
        pad_token_id: A token to fill up rows with; never `image_token_id`.
        end_token_id: Ends the assistant's turn.

    Raises:
        TemplateError: The tokenizer has no token to spare for images, or cannot be used.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: ChatTemplate,
        system: str | None = None,
        image_token: str | None = None,
    ) -> None:
        raise NotImplementedError

    def question_turn(self, text: str, options: Sequence[str] = ()) -> Turn:
        """A question about a slide, options lettered from A."""
        raise NotImplementedError

    def conversation_ids(self, turns: Sequence[Turn], num_visual: int) -> Supervised:
        """A whole conversation, to learn from.

        Raises:
            NothingToLearnError: The assistant says nothing.
            PromptError: The turns are no conversation.
        """
        raise NotImplementedError

    def prompt_ids(self, turns: Sequence[Turn], num_visual: int) -> list[int]:
        """A conversation up to where the assistant is to speak.

        Raises:
            PromptError: The turns are no conversation that a user's turn ends.
        """
        raise NotImplementedError
