"""The answer to one question, as it stands in the log: a line of ``answers.jsonl``.

A field that was never set has no place in the line, so ``"predicted": null`` is a reply that names
no option, and a line without ``predicted`` one without a reply.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tcssa.vqa.answering.reply import Reply
from tcssa.vqa.conversation import LETTERS, Question

Status = Literal[
    "answered",
    "invalid",
    "no_features",
    "ambiguous_features",
    "bad_features",
    "too_long",
    "missing",
    "not_asked",
]
"""The outcome of a question; all but the first count as wrong. ``invalid`` is a reply that names no
option, or a file's answers that contradict each other. The others say why there is no reply:
``missing`` from another system's file, ``not_asked`` of a control that had nothing to show."""

BLANK, OTHER = "blank", "other_slide"
CONTROLS = (BLANK, OTHER)


class ReplyRecord(BaseModel):
    """A reply to one order of the options; options go by their letters."""

    model_config = ConfigDict(frozen=True, strict=True)

    predicted: Annotated[str, Field(pattern="^[A-Z]$")] | None = None
    log_probs: list[float] | None = None
    option_mass: float | None = None
    text: str | None = None

    @property
    def predicted_index(self) -> int | None:
        """The option that was chosen, from 0; None without one."""
        return None if self.predicted is None else LETTERS.index(self.predicted)

    def fits(self, num_options: int) -> bool:
        """Tell whether it is a reply to a question with this many options."""
        return (self.predicted is None or self.predicted in LETTERS[:num_options]) and (
            self.log_probs is None or len(self.log_probs) == num_options
        )


class OtherSlideRecord(ReplyRecord):
    """The reply of the control with another slide."""

    slide: str | None = None
    """The other slide, by the stem of its feature file."""


class _Asked(BaseModel):
    """Fields that come first in a line: the question, and how it went."""

    row_id: str
    slide: str
    answer: str | None = None
    """The letter of the right option; of an open question the reference."""
    num_visual: int | None = None
    """Visual tokens of the slide."""
    status: Status
    message: str | None = None
    """Why there is no reply, in a sentence."""


class AnswerRecord(ReplyRecord, _Asked):
    """The answer to a question, with the replies to other orders and of the controls."""

    orders: list[ReplyRecord] | None = None
    """The reply to each cyclic order of the options, in the order of the file."""
    blank: ReplyRecord | None = None
    other_slide: OtherSlideRecord | None = None

    def control(self, name: str) -> ReplyRecord | None:
        """Return the reply of one of the `CONTROLS`; None where it was not asked."""
        return {BLANK: self.blank, OTHER: self.other_slide}[name]

    def fits(self, num_options: int) -> bool:
        """Tell whether all its replies are to a question with this many options."""
        others = [*(self.orders or ()), self.blank, self.other_slide]
        return (
            super().fits(num_options)
            and (self.orders is None or len(self.orders) == num_options)
            and all(reply is None or reply.fits(num_options) for reply in others)
        )

    def line(self) -> str:
        """Return the record as a line of the log, with its line break."""
        return json.dumps(self.model_dump(exclude_unset=True)) + "\n"


def unanswered(
    question: Question, status: Status, message: str, *, num_visual: int | None = None
) -> AnswerRecord:
    """Record a question that could not be asked.

    Args:
        question: The question.
        status: Why, as a keyword.
        message: Why, in a sentence.
        num_visual: Visual tokens of the slide, where they are known.
    """
    return _record(question, num_visual, {"status": status, "message": message})


def written(question: Question, text: str, *, num_visual: int | None = None) -> AnswerRecord:
    """Record the answer to an open question.

    Args:
        question: The question.
        text: The answer.
        num_visual: Visual tokens of the slide, where they are known.
    """
    return _record(question, num_visual, {"status": "answered", "text": text})


def chosen(
    question: Question,
    replies: Sequence[Reply],
    controls: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    num_visual: int | None = None,
) -> AnswerRecord:
    """Record the choice among the options of a question.

    Args:
        question: The question.
        replies: The reply to each order of the options that was asked, at least one.
        controls: Fields of the controls' replies (`reply_fields`), by name.
        num_visual: Visual tokens of the slide, where they are known.
    """
    said = [reply_fields(reply) for reply in replies]
    status: Status = "invalid" if replies[0].predicted is None else "answered"
    orders = {"orders": said} if len(said) > 1 else {}
    return _record(
        question, num_visual, {"status": status, **said[0], **orders, **(controls or {})}
    )


def reply_fields(reply: Reply) -> dict[str, Any]:
    """Return the fields of a reply that are set."""
    index = reply.predicted
    fields: dict[str, Any] = {"predicted": None if index is None else LETTERS[index]}
    if reply.log_probs is not None:
        fields |= {"log_probs": list(reply.log_probs), "option_mass": reply.option_mass}
    return fields if reply.text is None else fields | {"text": reply.text}


def _record(question: Question, num_visual: int | None, told: Mapping[str, Any]) -> AnswerRecord:
    asked = {
        "row_id": question.row_id,
        "slide": question.slide,
        "answer": question.answer if question.options else question.answer_text,
    }
    seen = {} if num_visual is None else {"num_visual": num_visual}
    return AnswerRecord.model_validate({**asked, **seen, **told})
