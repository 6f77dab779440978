"""A slide's questions, put to a model: once as they are, and once more for every control.

What is asked of one slide goes through together, so that its beginning is read once. The answers
are plain dicts: the lines of the answer log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tcssa.vqa.controls import blank
from tcssa.vqa.conversation import Question
from tcssa.vqa.generate import Generate
from tcssa.vqa.likelihood import LETTERS
from tcssa.vqa.permutation import shifted, unshifted
from tcssa.vqa.prefill import Prompt
from tcssa.vqa.reply import Method, Reply

if TYPE_CHECKING:
    from tcssa.vqa.prompt import PromptBuilder

BLANK, OTHER = "blank", "other_slide"
CONTROLS = (BLANK, OTHER)


@dataclass(frozen=True)
class Asked:
    """One question, with the key of its row."""

    key: str
    question: Question


@dataclass(frozen=True)
class _Order:
    """A question with its options in one order."""

    shift: int
    shown: list[str]
    prompt: Prompt


class Asker:
    """Puts questions about slides to a model.

    Args:
        prompts: The model's prompt builder.
        method: Answers questions with options.
        writer: Answers open questions.
        context: Most tokens that the model reads.
        permute: Ask every cyclic order of the options.
    """

    def __init__(
        self,
        prompts: PromptBuilder,
        method: Method,
        writer: Generate,
        context: int,
        *,
        permute: bool = False,
    ) -> None:
        self.prompts, self.method, self.writer = prompts, method, writer
        self.context, self.permute = context, permute

    def ask(
        self, asked: Sequence[Asked], visual: Tensor, other: Tensor | None
    ) -> list[dict[str, Any]]:
        """Ask a slide's questions.

        Args:
            asked: The questions, all about this slide.
            visual: The slide's visual tokens [V, D].
            other: Another slide's, for the control; None if there is none.

        Returns:
            A line for each question, in their order.
        """
        lines, fitting = {row.key: _begin(row) for row in asked}, []
        for row in asked:
            orders = self._orders(row.question, visual, permute=self.permute)
            length = self._length(row.question, orders)
            if length <= self.context:
                fitting.append(row)
            else:
                message = f"{length} tokens with the answer, the model reads {self.context}"
                lines[row.key] |= {"status": "too_long", "message": message}
        closed = [row for row in fitting if row.question.options]
        open_ones = [row for row in fitting if not row.question.options]
        for row, text in self._written(open_ones, visual):
            lines[row.key] |= {"status": "answered", "text": text}
        for row, replies in self._replied(closed, visual, permute=self.permute):
            lines[row.key] |= _outcome(row.question, replies)
        for name, tokens in ((BLANK, blank(visual)), (OTHER, other)):
            for row, replies in self._replied(closed, tokens, permute=False):
                lines[row.key][name] = _described(row.question, replies[0])
        return [lines[row.key] for row in asked]

    def prompt(self, text: str, options: Sequence[str], visual: Tensor) -> Prompt:
        """The prompt of a question about a slide of these visual tokens."""
        turn = self.prompts.question_turn(text, options)
        return Prompt(self.prompts.prompt_ids([turn], len(visual)), visual)

    def room(self, options: Sequence[str]) -> int:
        """Tokens that the answer may take."""
        by_letter = options and self.method.name != self.writer.name
        return 1 if by_letter else self.writer.max_new_tokens

    def _orders(self, question: Question, visual: Tensor, *, permute: bool) -> list[_Order]:
        """The prompts of a question: as it is, or with its options in every cyclic order."""
        orders = []
        for shift in range(len(question.options) if permute and question.options else 1):
            shown = shifted(question.options, shift) if question.options else []
            orders.append(_Order(shift, shown, self.prompt(question.text, shown, visual)))
        return orders

    def _length(self, question: Question, orders: Sequence[_Order]) -> int:
        """Tokens of the longest prompt and its answer."""
        return max(len(order.prompt.ids) for order in orders) + self.room(question.options)

    def _written(self, asked: Sequence[Asked], visual: Tensor) -> list[tuple[Asked, str]]:
        prompts = [self.prompt(row.question.text, (), visual) for row in asked]
        return list(zip(asked, self.writer.texts(prompts), strict=True))

    def _replied(
        self, asked: Sequence[Asked], visual: Tensor | None, *, permute: bool
    ) -> list[tuple[Asked, list[Reply]]]:
        """The replies to each question, one for each order of its options.

        Questions that do not fit beside these visual tokens are left out.
        """
        if visual is None:
            return []
        orders: list[tuple[Asked, _Order]] = []
        for row in asked:
            own = self._orders(row.question, visual, permute=permute)
            if self._length(row.question, own) <= self.context:
                orders += [(row, order) for order in own]
        answered = self.method.reply(
            [order.prompt for _, order in orders], [order.shown for _, order in orders]
        )
        replies: dict[str, list[Reply]] = {}
        for (row, order), reply in zip(orders, answered, strict=True):
            said = unshifted(reply, order.shift, len(order.shown))
            replies.setdefault(row.key, []).append(said)
        return [(row, replies[row.key]) for row in asked if row.key in replies]


def _begin(row: Asked) -> dict[str, Any]:
    question = row.question
    return {
        "key": row.key,
        "row_id": question.row_id,
        "slide": question.slide,
        "answer": question.answer,
        "num_options": len(question.options),
    }


def unanswered(row: Asked, status: str, message: str) -> dict[str, Any]:
    """The line of a question that could not be asked."""
    return _begin(row) | {"status": status, "message": message}


def _outcome(question: Question, replies: Sequence[Reply]) -> dict[str, Any]:
    first = replies[0]
    line = {"status": "invalid" if first.predicted is None else "answered"}
    line |= _described(question, first)
    if len(replies) > 1:
        line["orders"] = [_described(question, reply) for reply in replies]
    return line


def _described(question: Question, reply: Reply) -> dict[str, Any]:
    """A reply as plain data; options go by their letters in the file."""
    described: dict[str, Any] = {
        "predicted": None if reply.predicted is None else LETTERS[reply.predicted]
    }
    if reply.log_probs is not None:
        described["log_probs"] = list(reply.log_probs)
        described["letter_mass"] = reply.letter_mass
    if reply.text is not None:
        described["text"] = reply.text
    return described
