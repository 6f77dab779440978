"""Chat templates of language models: the marks around the words of each side.

A tokenizer brings its chat template as a Jinja program. What we need of it is simpler: the text
that stands before and after each side's words. `ChatTemplate.of` finds these marks by rendering the
program on words that we know, and then checks on conversations of several shapes that marks and
words put together are what the program renders. So a template is either understood to the letter,
or refused.

**Thinking is off, in every turn.** Qwen3's hybrid models put an empty ``<think>`` block before an
answer without thinking, and their program drops it from all turns but the last. Of a conversation
of several turns most answers would then be learned after other marks than the model is asked with.
Here the block stands before every answer: what an answer follows is the same to the token in
training and in asking.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict

from tcssa.errors import TemplateError
from tcssa.vqa.conversation import Role, Turn

_EMPTY_THOUGHT = re.compile(r"<think>\s*</think>\s*")
_SYSTEM = Turn("system", "Be brief.\nBe right.")
_ASKED, _SAID = Turn("user", "One question?"), Turn("assistant", "One answer.")
_ASKED_AGAIN = Turn("user", "Another one,\n\nof two lines?")
_SAID_AGAIN = Turn("assistant", "Another\nanswer.")


class Piece(NamedTuple):
    """A stretch of a rendered conversation."""

    text: str
    speaker: Role | None = None
    """Who says it; None for the template's marks: only there does a special token mean itself."""
    is_learned: bool = False
    """True if the assistant says it: its words, and the token that ends them."""


class ChatTemplate(BaseModel):
    """The marks around the words of each side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    no_system: str
    """Begins a conversation without a system prompt; some models have one of their own there."""
    before_system: str | None
    """Begins a conversation with one; None where the model takes none."""
    after_system: str
    before_user: str
    after_user: str
    before_assistant: str
    """The mark that asks the assistant to speak."""
    end: str
    """The token by which the assistant ends its turn; it is learned."""
    after_assistant: str

    @classmethod
    def of(cls, tokenizer: Any) -> Self:
        """Find the marks of a tokenizer's chat template.

        Args:
            tokenizer: A tokenizer of transformers, hence Any.

        Raises:
            TemplateError: The tokenizer has no chat template, or one not made of such marks.
        """
        if not getattr(tokenizer, "chat_template", None):
            raise TemplateError(
                "the tokenizer brings no chat template, so nobody knows how the model is asked",
                hint="use an instruction-tuned model, as Qwen3 or SmolLM2-Instruct",
            )
        template = cls(**_find_marks(tokenizer))
        _verify(template, tokenizer)
        return template

    def pieces(self, turns: Sequence[Turn], *, ask: bool = False) -> Iterator[Piece]:
        """Split a conversation into pieces.

        Args:
            turns: A system prompt, if any, then user and assistant by turns.
            ask: End with the mark that asks the assistant to speak.
        """
        if not turns or turns[0].role != "system":
            yield Piece(self.no_system)
        for turn in turns:
            before, after = self._around(turn)
            learned = turn.role == "assistant" and bool(turn.text)
            yield Piece(before)
            yield Piece(turn.text, turn.role, learned)
            if turn.role == "assistant":
                yield Piece(self.end, is_learned=learned)
            yield Piece(after)
        if ask:
            yield Piece(self.before_assistant)

    def render(self, turns: Sequence[Turn], *, ask: bool = False) -> str:
        """Render a conversation as text.

        Args:
            turns: A system prompt, if any, then user and assistant by turns.
            ask: End with the mark that asks the assistant to speak.
        """
        return "".join(piece.text for piece in self.pieces(turns, ask=ask))

    def jinja(self) -> str:
        """Return the template as Jinja with ``{% generation %}``, for tools that mask by it."""
        marks = {name: json.dumps(value) for name, value in self.model_dump().items()}
        system = (
            "{{ %(before_system)s + messages[0].content | trim + %(after_system)s }}"
            if self.before_system is not None
            else "{{ raise_exception('this model takes no system prompt') }}"
        )
        program = (
            "{%% if messages[0].role == 'system' %%}" + system + "{%% else %%}"
            "{{ %(no_system)s }}{%% endif %%}"
            "{%% for message in messages %%}{%% if message.role == 'user' %%}"
            "{{ %(before_user)s + message.content | trim + %(after_user)s }}"
            "{%% elif message.role == 'assistant' %%}{{ %(before_assistant)s }}"
            "{%% generation %%}{{ message.content | trim + %(end)s }}{%% endgeneration %%}"
            "{{ %(after_assistant)s }}{%% endif %%}{%% endfor %%}"
            "{%% if add_generation_prompt %%}{{ %(before_assistant)s }}{%% endif %%}"
        )
        return program % marks

    def _around(self, turn: Turn) -> tuple[str, str]:
        if turn.role == "user":
            return self.before_user, self.after_user
        if turn.role == "assistant":
            return self.before_assistant, self.after_assistant
        if self.before_system is None:
            raise TemplateError("this model takes no system prompt", hint="leave out --system")
        return self.before_system, self.after_system


def _find_marks(tokenizer: Any) -> dict[str, str | None]:
    """Read the marks off what the program renders."""
    asked = _stock(tokenizer, [_ASKED])
    prompt = _stock(tokenizer, [_ASKED], ask=True)
    answered = _stock(tokenizer, [_ASKED, _SAID])
    twice = _stock(tokenizer, [_ASKED, _SAID, _ASKED_AGAIN])
    if asked is None or prompt is None or answered is None or twice is None:
        raise TemplateError("the chat template cannot render a plain conversation")
    before_assistant = _rest(prompt, asked)
    after_answer = _rest(answered, prompt + _SAID.text)
    end = _leading_token(after_answer, tokenizer)
    head, _, after_user = asked.partition(_ASKED.text)
    between = twice.rpartition(_SAID.text)[2].partition(_ASKED_AGAIN.text)[0]
    before_user = _rest(between, after_answer)
    with_system = _stock(tokenizer, [_SYSTEM, _ASKED])
    before_system, after_system = None, ""
    if with_system is not None and _SYSTEM.text in with_system:
        before_system, _, rest = with_system.partition(_SYSTEM.text)
        after_system = _without_end(rest.partition(_ASKED.text)[0], before_user)
    return {
        "no_system": _without_end(head, before_user),
        "before_system": before_system,
        "after_system": after_system,
        "before_user": before_user,
        "after_user": after_user,
        "before_assistant": before_assistant,
        "end": end,
        "after_assistant": after_answer[len(end) :],
    }


def _verify(template: ChatTemplate, tokenizer: Any) -> None:
    """Compare with what the program renders, with and without system, of one and two turns."""
    earlier = _before_earlier_answers(template, tokenizer)
    talk = [_ASKED, _SAID, _ASKED_AGAIN, _SAID_AGAIN]
    for first in ([], [_SYSTEM]) if template.before_system is not None else ([],):
        for length in range(1, len(talk) + 1):
            turns = [*first, *talk[:length]]
            for ask in (False, True) if turns[-1].role == "user" else (False,):
                stock = _stock(tokenizer, turns, ask=ask)
                if stock != _as_stock(template, turns, earlier, ask=ask):
                    raise _not_understood(f"{len(turns)} turns, rendered as {stock!r}")


def _before_earlier_answers(template: ChatTemplate, tokenizer: Any) -> str:
    """Return the program's marks before earlier answers, which may lack an empty thought."""
    twice = _stock(tokenizer, [_ASKED, _SAID, _ASKED_AGAIN]) or ""
    earlier = _rest(twice.partition(_SAID.text)[0], template.render([_ASKED]))
    dropped = _rest(template.before_assistant, earlier)
    if dropped and not _EMPTY_THOUGHT.fullmatch(dropped):
        raise _not_understood(f"{dropped!r} stands before the last answer only")
    return earlier


def _as_stock(template: ChatTemplate, turns: Sequence[Turn], earlier: str, *, ask: bool) -> str:
    """Render as we do, but with the program's marks before answers that a question follows."""
    last = max(place for place, turn in enumerate(turns) if turn.role == "user")
    history = template.model_copy(update={"before_assistant": earlier}).render(turns[:last])
    whole = template.render(turns, ask=ask)
    return history + whole[len(template.render(turns[:last])) :]


def _stock(tokenizer: Any, turns: Sequence[Turn], *, ask: bool = False) -> str | None:
    """Render with the tokenizer's own program; None where it refuses."""
    from jinja2 import TemplateError as JinjaError

    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    try:
        return str(
            tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=ask, enable_thinking=False
            )
        )
    except JinjaError:
        return None


def _rest(text: str, beginning: str) -> str:
    if not text.startswith(beginning):
        raise _not_understood(f"{text!r} does not begin with {beginning!r}")
    return text[len(beginning) :]


def _without_end(text: str, end: str) -> str:
    if not text.endswith(end):
        raise _not_understood(f"{text!r} does not end with {end!r}")
    return text[: len(text) - len(end)]


def _leading_token(text: str, tokenizer: Any) -> str:
    """Return the special token that a text begins with."""
    tokens = [token.content for token in tokenizer.added_tokens_decoder.values()]
    found = [token for token in tokens if text.startswith(token)]
    if not found:
        raise _not_understood(f"no special token ends an answer, but {text!r}")
    return str(max(found, key=len))


def _not_understood(what: str) -> TemplateError:
    return TemplateError(
        f"the tokenizer's chat template is not made of fixed marks around each turn: {what[:300]}",
        hint="use a model whose template is, as Qwen3 or SmolLM2-Instruct",
    )
