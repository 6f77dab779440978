"""Answers as lines: what was not said has no place in them, and every status is known."""

import json
from typing import get_args

import pytest
from pydantic import ValidationError

from tcssa.vqa.answering.answer_record import (
    AnswerRecord,
    Status,
    chosen,
    reply_fields,
    unanswered,
    written,
)
from tcssa.vqa.answering.reply import Reply
from tcssa.vqa.conversation import Question

CLOSED = Question("7", ("S1",), "What?", ("lung", "skin"), "B", "skin", {}, "file.csv, row 7")
OPEN = Question("8", ("S1",), "What?", (), None, "a tumour", {}, "file.csv, row 8")


def plain(record: AnswerRecord) -> list[tuple[str, object]]:
    """Names and values of a line, in their order."""
    assert AnswerRecord.model_validate_json(record.line()) == record
    return list(json.loads(record.line()).items())


def test_a_question_that_was_not_asked_says_why_and_nothing_else() -> None:
    begin = [("row_id", "7"), ("slide", "S1"), ("answer", "B")]
    why = [("status", "no_features"), ("message", "there is no file")]
    assert plain(unanswered(CLOSED, "no_features", "there is no file")) == [*begin, *why]
    long = plain(unanswered(CLOSED, "too_long", "9 tokens", num_visual=6))
    assert long == [*begin, ("num_visual", 6), ("status", "too_long"), ("message", "9 tokens")]


def test_an_open_question_is_answered_in_words_beside_the_reference() -> None:
    line = dict(plain(written(OPEN, "blue", num_visual=6)))
    assert line == {
        "row_id": "8", "slide": "S1", "answer": "a tumour", "num_visual": 6, "status": "answered",
        "text": "blue",
    }  # fmt: skip


def test_a_choice_goes_by_its_letter_with_orders_and_controls_behind() -> None:
    replies = [Reply(1, (-1.5, -0.25), 0.5), Reply(0, (-0.5, -1.0), 0.25)]
    controls = {
        "other_slide": reply_fields(replies[1]) | {"slide": "S2"},
        "blank": reply_fields(replies[0]),
    }
    record = chosen(CLOSED, replies, controls, num_visual=6)
    assert [name for name, _ in plain(record)] == [
        "row_id", "slide", "answer", "num_visual", "status", "predicted", "log_probs",
        "option_mass", "orders", "blank", "other_slide",
    ]  # fmt: skip
    assert (record.status, record.predicted, record.predicted_index) == ("answered", "B", 1)
    line = dict(plain(record))
    assert line["orders"] == [
        {"predicted": "B", "log_probs": [-1.5, -0.25], "option_mass": 0.5},
        {"predicted": "A", "log_probs": [-0.5, -1.0], "option_mass": 0.25},
    ]
    assert record.control("other_slide") == record.other_slide
    assert record.other_slide is not None
    assert record.other_slide.slide == "S2"


def test_a_reply_that_names_no_option_is_null_and_invalid() -> None:
    record = chosen(CLOSED, [Reply(None, text="who knows")])
    assert dict(plain(record))["predicted"] is None
    assert record.status == "invalid"
    assert record.predicted_index is None
    assert record.control("blank") is None


def test_every_status_of_the_code_is_one_of_a_record_and_no_other_is() -> None:
    for status in get_args(Status):
        assert unanswered(CLOSED, status, "why").status == status
    assert {"bad_features", "not_asked"} <= set(get_args(Status))
    with pytest.raises(ValidationError, match="status"):
        AnswerRecord.model_validate({"row_id": "1", "slide": "s", "status": "asleep"})
