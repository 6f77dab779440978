"""A slide's questions, put to a model: once as they are, and once more for every control.

All questions about one slide go through together, so that their common beginning is read once. The
answers are plain dicts: the lines of the answer log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tcssa.vqa.answering.controls import blank
from tcssa.vqa.answering.generate import Generate
from tcssa.vqa.answering.permutation import shifted, unshifted
from tcssa.vqa.answering.prefill import Prompt
from tcssa.vqa.answering.reply import Method, Reply
from tcssa.vqa.conversation import LETTERS, Question

if TYPE_CHECKING:
    from tcssa.vqa.prompts.prompt import PromptBuilder

BLANK, OTHER = "blank", "other_slide"
CONTROLS = (BLANK, OTHER)


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
        self, questions: Sequence[Question], visual: Tensor, other: Tensor | None
    ) -> list[dict[str, Any]]:
        """Ask a slide's questions.

        Args:
            questions: All about this slide.
            visual: The slide's visual tokens [V, D].
            other: Another slide's visual tokens, for the control; None if there is none.

        Returns:
            A line for each question, in their order.
        """
        lines = {q.row_id: _begin(q) | {"num_visual": len(visual)} for q in questions}
        fitting = []
        for question in questions:
            length = self._length(question, self._orders(question, visual, permute=self.permute))
            if length <= self.context:
                fitting.append(question)
            else:
                message = f"{length} tokens with the answer, the model reads {self.context}"
                lines[question.row_id] |= {"status": "too_long", "message": message}
        closed = [question for question in fitting if question.options]
        open_ones = [question for question in fitting if not question.options]
        for question, text in self._written(open_ones, visual):
            lines[question.row_id] |= {"status": "answered", "text": text}
        for question, replies in self._replied(closed, visual, permute=self.permute):
            lines[question.row_id] |= _outcome(replies)
        for name, tokens in ((BLANK, blank(visual)), (OTHER, other)):
            for question, replies in self._replied(closed, tokens, permute=False):
                lines[question.row_id][name] = _described(replies[0])
        return [lines[question.row_id] for question in questions]

    def prompt(self, text: str, options: Sequence[str], visual: Tensor) -> Prompt:
        """Build the prompt of a question about a slide.

        Args:
            text: The question.
            options: Its options, in the order to show them; none for an open question.
            visual: The slide's visual tokens [V, D].
        """
        shown = options if self.method.shows_options else ()
        turn = self.prompts.question_turn(text, shown)
        return Prompt(self.prompts.prompt_ids([turn], len(visual)), visual)

    def room(self, options: Sequence[str]) -> int:
        """Return the most tokens that the answer may take."""
        return self.method.room(options) if options else self.writer.room()

    def _orders(self, question: Question, visual: Tensor, *, permute: bool) -> list[_Order]:
        """Build the prompts of a question: as it is, or with its options in every cyclic order."""
        orders = []
        for shift in range(len(question.options) if permute and question.options else 1):
            shown = shifted(question.options, shift) if question.options else []
            orders.append(_Order(shift, shown, self.prompt(question.text, shown, visual)))
        return orders

    def _length(self, question: Question, orders: Sequence[_Order]) -> int:
        """Count the tokens of the longest prompt and its answer."""
        return max(len(order.prompt.ids) for order in orders) + self.room(question.options)

    def _written(
        self, questions: Sequence[Question], visual: Tensor
    ) -> Iterator[tuple[Question, str]]:
        prompts = [self.prompt(question.text, (), visual) for question in questions]
        return zip(questions, self.writer.texts(prompts), strict=True)

    def _replied(
        self, questions: Sequence[Question], visual: Tensor | None, *, permute: bool
    ) -> list[tuple[Question, list[Reply]]]:
        """Return the replies to each question, one for each order of its options.

        Questions too long for the model together with these visual tokens are left out.
        """
        if visual is None:
            return []
        asked: list[tuple[Question, _Order]] = []
        for question in questions:
            orders = self._orders(question, visual, permute=permute)
            if self._length(question, orders) <= self.context:
                asked += [(question, order) for order in orders]
        answered = self.method.reply(
            [order.prompt for _, order in asked], [order.shown for _, order in asked]
        )
        replies: dict[str, list[Reply]] = {}
        for (question, order), reply in zip(asked, answered, strict=True):
            said = unshifted(reply, order.shift, len(order.shown))
            replies.setdefault(question.row_id, []).append(said)
        return [(q, replies[q.row_id]) for q in questions if q.row_id in replies]


def unanswered(question: Question, status: str, message: str) -> dict[str, Any]:
    """Return the log line of a question that could not be asked.

    Args:
        question: The question.
        status: Why, as a keyword: ``no_features``, ``too_long`` and so on.
        message: Why, in a sentence.
    """
    return _begin(question) | {"status": status, "message": message}


def _begin(question: Question) -> dict[str, Any]:
    return {
        "row_id": question.row_id,
        "slide": question.slide,
        "answer": question.answer if question.options else question.answer_text,
    }


def _outcome(replies: Sequence[Reply]) -> dict[str, Any]:
    first = replies[0]
    line = {"status": "invalid" if first.predicted is None else "answered", **_described(first)}
    if len(replies) > 1:
        line["orders"] = [_described(reply) for reply in replies]
    return line


def _described(reply: Reply) -> dict[str, Any]:
    """Return a reply as plain data; options go by their letters in the file."""
    described: dict[str, Any] = {
        "predicted": None if reply.predicted is None else LETTERS[reply.predicted]
    }
    if reply.log_probs is not None:
        described["log_probs"] = list(reply.log_probs)
        described["option_mass"] = reply.option_mass
    if reply.text is not None:
        described["text"] = reply.text
    return described
