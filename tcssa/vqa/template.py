"""How a language model wants to be talked to: the marks around what each side says.

A tokenizer brings its chat template as a Jinja program. What we need of it is simpler: the text that
stands before and after each side's words. `ChatTemplate.of` finds these marks by rendering the
program on words that we know, and then checks on conversations of several shapes that marks and
words put together are what the program renders. So a template is either understood to the letter,
or refused.

**Thinking is off, in every turn.** Qwen3's hybrid models put an empty ``<think>`` block before an
answer without thinking, and their program drops it from all turns but the last. A conversation of
several turns would then be learned with other marks than the model is asked with. Here the block
stands before every answer, in training as in asking: what an answer follows is the same to the token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class ChatTemplate(BaseModel):
    """The marks around the words of each side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: str
    """Before everything."""
    no_system: str
    """In place of a system prompt, if none is given; some models have one of their own."""
    before_system: str | None
    """None where the model takes no system prompt."""
    after_system: str | None
    before_user: str
    after_user: str
    before_assistant: str
    """What asks the assistant to speak."""
    end: str
    """The token by which the assistant ends its turn; it is learned."""
    after_assistant: str

    @classmethod
    def of(cls, tokenizer: Any) -> Self:
        """The marks of a tokenizer's chat template.

        Raises:
            TemplateError: It has none, or one that is not made of such marks.
        """
        raise NotImplementedError

    def jinja(self) -> str:
        """The same as a Jinja program with ``{% generation %}``, for other tools that mask."""
        raise NotImplementedError
