"""A slide's questions, put to a model: once as they are, and once more for every control.

All questions about one slide go through together, so that their common beginning is read once. A
question is rendered and tokenised once, whatever is asked with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor

from tcssa.errors import ShapeError
from tcssa.vqa.answering.answer_record import (
    BLANK,
    OTHER,
    AnswerRecord,
    chosen,
    reply_fields,
    unanswered,
    written,
)
from tcssa.vqa.answering.controls import blank
from tcssa.vqa.answering.generate import Generate
from tcssa.vqa.answering.permutation import shifted, unshifted
from tcssa.vqa.answering.prefill import Prompt
from tcssa.vqa.answering.reply import Method, Reply
from tcssa.vqa.conversation import IMAGE_MARK, Question, Turn
from tcssa.vqa.prompts.wording import OWN, Wording

if TYPE_CHECKING:
    from tcssa.vqa.prompts.prompt import PromptBuilder


@dataclass(frozen=True)
class Order:
    """The options of a question in one order, and the prompt that asks about them."""

    shift: int
    shown: list[str]
    ids: list[int]
    """Token ids, with one placeholder a visual token."""


@dataclass(frozen=True)
class PreparedQuestion:
    """A question as tokens, about a slide of some number of visual tokens."""

    orders: list[Order]
    room: int
    """Most tokens that the answer may take."""

    @property
    def length(self) -> int:
        """Tokens of the longest prompt and its answer."""
        return max(len(order.ids) for order in self.orders) + self.room

    def prompt(self, visual: Tensor) -> Prompt:
        """Return the prompt that shows the options as the file has them."""
        return Prompt(self.orders[0].ids, visual)

    def plain(self, placeholder: int, num_visual: int) -> Self:
        """Return the question in the file's order alone, about a slide of another length.

        Args:
            placeholder: Token id that stands for a visual token.
            num_visual: Visual tokens of that slide, at least 1.
        """
        (first, *_), before = self.orders, self.orders[0].ids.index(placeholder)
        after = before + first.ids.count(placeholder)
        ids = [*first.ids[:before], *[placeholder] * num_visual, *first.ids[after:]]
        return replace(self, orders=[replace(first, ids=ids)])


class Asker:
    """Puts questions about slides to a model.

    Args:
        prompts: The model's prompt builder.
        method: Answers questions with options.
        writer: Answers open questions.
        context: Most tokens that the model reads.
        permute: Ask every cyclic order of the options.
        wording: How questions and options are written.
    """

    def __init__(
        self,
        prompts: PromptBuilder,
        method: Method,
        writer: Generate,
        context: int,
        *,
        permute: bool = False,
        wording: Wording = OWN,
    ) -> None:
        self.prompts, self.method, self.writer = prompts, method, writer
        self.context, self.permute, self.wording = context, permute, wording

    def ask(
        self,
        questions: Sequence[Question],
        visual: Tensor,
        other: tuple[str, Tensor] | None,
        places: Sequence[Sequence[int]] | None = None,
    ) -> list[AnswerRecord]:
        """Ask a slide's questions, or those about the same slides together.

        Args:
            questions: All about this slide.
            visual: The slide's visual tokens [V, D]; of several those of all.
            other: Name and visual tokens of another slide, for the control; None if there is none.
            places: Of each question, how many tokens stand at each slide that it names; None where
                each names one.

        Returns:
            The answer to each question, in their order.

        Raises:
            ShapeError: The tokens of a question's slides are not those of ``visual``.
        """
        num_visual = len(visual)
        counts = places or [[num_visual]] * len(questions)
        for question, count in zip(questions, counts, strict=True):
            if sum(count) != num_visual:
                raise ShapeError(
                    f"question {question.row_id}: its slides have {sum(count)} visual tokens, "
                    f"{num_visual} are shown"
                )
        prepared = {
            q.row_id: self.prepare(q.text, q.options, *count)
            for q, count in zip(questions, counts, strict=True)
        }
        fitting = [q for q in questions if prepared[q.row_id].length <= self.context]
        texts = self._texts(
            {q.row_id: prepared[q.row_id] for q in fitting if not q.options}, visual
        )
        closed = {q.row_id: prepared[q.row_id] for q in fitting if q.options}
        replies = self._replies(closed, visual)
        controls = self._controls(closed, visual, other)
        records = []
        for question in questions:
            row_id = question.row_id
            if row_id in texts:
                records.append(written(question, texts[row_id], num_visual=num_visual))
            elif row_id in replies:
                said = replies[row_id], controls[row_id]
                records.append(chosen(question, *said, num_visual=num_visual))
            else:
                length = prepared[row_id].length
                why = f"{length} tokens with the answer, the model reads {self.context}"
                records.append(unanswered(question, "too_long", why, num_visual=num_visual))
        return records

    def prepare(self, text: str, options: Sequence[str], *num_visual: int) -> PreparedQuestion:
        """Render and tokenise a question about a slide, in every order that is to be asked.

        Args:
            text: The question; one about several slides may mark the place of each.
            options: Its options, as the file has them; none for an open question.
            num_visual: Visual tokens of the slide, at least 1; or of each of several.
        """
        orders = []
        marks = len(num_visual) > 1 and not options and text.count(IMAGE_MARK)
        marked = marks == len(num_visual)
        for shift in range(len(options) if self.permute and options else 1):
            shown = shifted(options, shift)
            turn = self.wording.turn(text, shown if self.method.shows_options else ())
            turn, where = (Turn("user", text), num_visual) if marked else (turn, sum(num_visual))
            orders.append(Order(shift, shown, self.prompts.prompt_ids([turn], where)))
        room = self.method.room(options) if options else self.writer.room()
        return PreparedQuestion(orders, room)

    def _controls(
        self,
        closed: Mapping[str, PreparedQuestion],
        visual: Tensor,
        other: tuple[str, Tensor] | None,
    ) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the fields of each control's reply, by ``row_id`` and the control's name."""
        found: dict[str, dict[str, dict[str, Any]]] = {row_id: {} for row_id in closed}
        shown: list[tuple[str, Tensor, dict[str, str]]] = [(BLANK, blank(visual), {})]
        if other is not None:
            shown.append((OTHER, other[1], {"slide": other[0]}))
        for name, tokens, more in shown:
            for row_id, (reply,) in self._replies(self._plain(closed, tokens), tokens).items():
                found[row_id][name] = reply_fields(reply) | more
        return found

    def _plain(
        self, asked: Mapping[str, PreparedQuestion], visual: Tensor
    ) -> dict[str, PreparedQuestion]:
        """Return the questions of a control; those too long with its visual tokens are left out."""
        placeholder = self.prompts.image_token_id
        plain = {row_id: each.plain(placeholder, len(visual)) for row_id, each in asked.items()}
        return {row_id: each for row_id, each in plain.items() if each.length <= self.context}

    def _texts(self, asked: Mapping[str, PreparedQuestion], visual: Tensor) -> dict[str, str]:
        """Return what the model writes to open questions, by ``row_id``."""
        texts = self.writer.texts([each.prompt(visual) for each in asked.values()])
        return dict(zip(asked, texts, strict=True))

    def _replies(
        self, asked: Mapping[str, PreparedQuestion], visual: Tensor
    ) -> dict[str, list[Reply]]:
        """Return the replies to each question, one for each order of its options."""
        rows = [(row_id, order) for row_id, each in asked.items() for order in each.orders]
        answered = self.method.reply(
            [Prompt(order.ids, visual) for _, order in rows], [order.shown for _, order in rows]
        )
        replies: dict[str, list[Reply]] = {row_id: [] for row_id in asked}
        for (row_id, order), reply in zip(rows, answered, strict=True):
            replies[row_id].append(unshifted(reply, order.shift, len(order.shown)))
        return replies
