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
training and in asking. A model that is asked with an open ``<think>`` (DeepSeek-R1, Qwen3-Thinking)
is asked with an empty thought in its place, and learns its answers after one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from tcssa.errors import TemplateError
from tcssa.vqa.conversation import Role, Turn

_EMPTY_THOUGHT = re.compile(r"<think>\s*</think>\s*")
_OPEN_THOUGHT = re.compile(r"<think>\s*$")
_NO_THOUGHT = "<think>\n\n</think>\n\n"
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
    before_answer: str = ""
    """White space that the assistant's words begin with; it is learned."""
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
        marks, stock = _find_marks(tokenizer)
        template = cls.model_validate(marks)
        _verify(template, stock, tokenizer, [])
        if template.before_system is not None:
            try:
                _verify(template, stock, tokenizer, [_SYSTEM])
            except TemplateError:  # it stands elsewhere in longer conversations
                marks |= {"before_system": None, "after_system": ""}
                template = cls.model_validate(marks)
        return template

    @classmethod
    def without_marks(cls, end: str) -> Self:
        """Return a template that puts no marks around anybody's words.

        Args:
            end: The token by which the assistant ends its turn.
        """
        nothing = dict.fromkeys(("no_system", "after_system", "before_user", "after_user"), "")
        return cls(**nothing, before_system=None, before_assistant="", end=end, after_assistant="")

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
            if turn.role == "assistant":
                yield Piece(self.before_answer, is_learned=learned)
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
        texts = {"before_answer": "", **self.model_dump()}
        marks = {name: json.dumps(value) for name, value in texts.items()}
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
            "{%% generation %%}{{ %(before_answer)s + message.content | trim + %(end)s }}"
            "{%% endgeneration %%}"
            "{{ %(after_assistant)s }}{%% endif %%}{%% endfor %%}"
            "{%% if add_generation_prompt %%}{{ %(before_assistant)s }}{%% endif %%}"
        )
        return program % marks

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what most models lack, so that what was saved without it has the same hash."""
        content: dict[str, Any] = handler(self)
        if not self.before_answer:
            content.pop("before_answer", None)
        return content

    def _around(self, turn: Turn) -> tuple[str, str]:
        if turn.role == "user":
            return self.before_user, self.after_user
        if turn.role == "assistant":
            return self.before_assistant, self.after_assistant
        if self.before_system is None:
            raise TemplateError(
                "this model takes no system prompt",
                hint="leave out --system, and system turns of the conversations",
            )
        return self.before_system, self.after_system


@dataclass(frozen=True)
class _Stock:
    """Marks of a tokenizer's own program that differ from ours."""

    ask: str
    """Asks the assistant to speak; it may open a thought."""
    earlier: str
    """Stands before answers that a question follows; they may lack an empty thought."""
    last: str
    """Stands before the last answer, up to its words."""
    tail: str
    """Ends what nobody is asked to go on with; it is no part of a conversation."""


def _find_marks(tokenizer: Any) -> tuple[dict[str, str | None], _Stock]:
    """Read the marks off what the program renders."""
    asked = _stock(tokenizer, [_ASKED])
    prompt = _stock(tokenizer, [_ASKED], ask=True)
    answered = _stock(tokenizer, [_ASKED, _SAID])
    twice = _stock(tokenizer, [_ASKED, _SAID, _ASKED_AGAIN])
    if asked is None or prompt is None or answered is None or twice is None:
        raise TemplateError("the chat template cannot render a plain conversation")
    tail = "" if prompt.startswith(asked) else _token_at(asked, tokenizer, str.endswith)
    asked, answered, twice = (_without_end(text, tail) for text in (asked, answered, twice))
    ask = _rest(prompt, asked)
    last, _, after_answer = _rest(answered, asked).partition(_SAID.text)
    head, _, after_user = asked.partition(_ASKED.text)
    earlier = _rest(twice, asked).partition(_SAID.text)[0]
    between = twice.rpartition(_SAID.text)[2].partition(_ASKED_AGAIN.text)[0]
    before_user = _rest(between, after_answer)
    before_assistant, before_answer = _before_answer(ask, last)
    if earlier != last and not _EMPTY_THOUGHT.fullmatch(_rest(last, earlier)):
        raise _not_understood(f"{_rest(last, earlier)!r} stands before the last answer only")
    end = _token_at(after_answer, tokenizer, str.startswith)
    if not end:
        raise _not_understood(f"no special token ends an answer, but {after_answer!r}")
    with_system = _stock(tokenizer, [_SYSTEM, _ASKED])
    before_system, after_system = None, ""
    if with_system is not None and _SYSTEM.text in with_system:
        before, _, rest = with_system.partition(_SYSTEM.text)
        between = rest.partition(_ASKED.text)[0]
        if between.endswith(before_user):  # else it is a part of the user's turn
            before_system, after_system = before, _without_end(between, before_user)
    marks = {
        "no_system": _without_end(head, before_user),
        "before_system": before_system,
        "after_system": after_system,
        "before_user": before_user,
        "after_user": after_user,
        "before_assistant": before_assistant,
        "before_answer": before_answer,
        "end": end,
        "after_assistant": after_answer[len(end) :],
    }
    return marks, _Stock(ask, earlier, last, tail)


def _before_answer(ask: str, last: str) -> tuple[str, str]:
    """Return the mark that we ask the assistant with, and white space that its answer begins with.

    Args:
        ask: The program's mark that asks the assistant.
        last: What it puts between a question and its answer.
    """
    thought = _OPEN_THOUGHT.search(ask)
    if thought is None:
        before_answer = _rest(last, ask)
        if before_answer.strip():
            raise _not_understood(f"{before_answer!r} begins an answer, and is asked for by nobody")
        return ask, before_answer
    mark = ask[: thought.start()]
    closed = _rest(last, mark)
    if closed and not _EMPTY_THOUGHT.fullmatch(closed):
        raise _not_understood(f"{closed!r} stands before an answer, and {ask!r} asks for one")
    return mark + (closed or _NO_THOUGHT), ""


def _verify(template: ChatTemplate, stock: _Stock, tokenizer: Any, first: list[Turn]) -> None:
    """Compare with what the program renders, of one and two turns.

    Args:
        template: The marks that were found.
        stock: The program's own, where they differ.
        tokenizer: The tokenizer.
        first: A system prompt, or nothing.

    Raises:
        TemplateError: The program renders something else.
    """
    talk = [_ASKED, _SAID, _ASKED_AGAIN, _SAID_AGAIN]
    for length in range(1, len(talk) + 1):
        turns = [*first, *talk[:length]]
        for ask in (False, True) if turns[-1].role == "user" else (False,):
            rendered = _stock(tokenizer, turns, ask=ask)
            if rendered != _as_stock(template, stock, turns, ask=ask):
                raise _not_understood(f"{len(turns)} turns, rendered as {rendered!r}")


def _as_stock(template: ChatTemplate, stock: _Stock, turns: Sequence[Turn], *, ask: bool) -> str:
    """Render as we do, but with the program's own marks around answers."""
    last = max(place for place, turn in enumerate(turns) if turn.role == "user")
    begun, now = (
        template.model_copy(update={"before_assistant": mark, "before_answer": ""})
        for mark in (stock.earlier, stock.last)
    )
    history = begun.render(turns[:last])
    rest = now.render(turns)[len(now.render(turns[:last])) :]
    return history + rest + (stock.ask if ask else stock.tail)


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


def _token_at(text: str, tokenizer: Any, is_there: Callable[[str, str], bool]) -> str:
    """Return the special token that a text begins or ends with; nothing if none."""
    tokens = [str(token.content) for token in tokenizer.added_tokens_decoder.values()]
    return max((token for token in tokens if is_there(text, token)), key=len, default="")


def _not_understood(what: str) -> TemplateError:
    return TemplateError(
        f"the tokenizer's chat template is not made of fixed marks around each turn: {what[:300]}",
        hint="use a model whose template is, as Qwen3 or SmolLM2-Instruct",
    )
