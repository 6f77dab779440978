"""Answers on disk: whole lines, one model's, and nothing asked twice."""

import json
from pathlib import Path

import pytest

from tcssa.errors import RunError
from tcssa.vqa.answering.answer_log import AnswerLog
from tcssa.vqa.answering.answer_record import AnswerRecord
from tcssa.vqa.conversation import Question

MADE_FROM = {"model": "abc", "benchmark": "def"}


def line(key: str, **fields: object) -> AnswerRecord:
    reply = fields or {"predicted": "B", "log_probs": [-0.1, -2.4]}
    return AnswerRecord.model_validate({"row_id": key, "slide": "s", "status": "answered", **reply})


def test_answers_come_back_when_the_log_is_opened_again(tmp_path: Path) -> None:
    with AnswerLog(tmp_path / "a.jsonl", MADE_FROM) as log:
        log.append([line("0"), line("1")])
        log.append([line("2")])
    with AnswerLog(tmp_path / "a.jsonl", MADE_FROM) as log:
        assert log.done == {key: line(key) for key in "012"}


@pytest.mark.parametrize("num_bytes", [1, 10, 40])
def test_a_half_written_line_is_dropped(tmp_path: Path, num_bytes: int) -> None:
    path = tmp_path / "a.jsonl"
    with AnswerLog(path, MADE_FROM) as log:
        log.append([line("0"), line("1")])
    whole = path.read_bytes()
    path.write_bytes(whole[:-num_bytes])
    with AnswerLog(path, MADE_FROM) as log:
        assert set(log.done) == {"0"}
        log.append([line("1")])
    assert path.read_bytes() == whole


def test_another_models_answers_are_refused_and_what_differs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AnswerLog(path, MADE_FROM) as log:
        log.append([line("0")])
    with pytest.raises(RunError, match="model changed"):
        AnswerLog(path, MADE_FROM | {"model": "xyz"})
    with AnswerLog(path, MADE_FROM | {"model": "xyz"}, overwrite=True) as log:
        assert log.done == {}
    header = json.loads(path.read_text())
    assert header["made_from"]["model"] == "xyz"


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "?"}\n')
    with pytest.raises(RunError, match="no file of answers"):
        AnswerLog(path, MADE_FROM)
    path.write_text("nonsense\n")
    with pytest.raises(RunError, match="line 1: is not valid JSON"):
        AnswerLog(path, MADE_FROM)


def question(options: tuple[str, ...]) -> Question:
    answer = "A" if options else None
    return Question("0", ("s",), "What?", options, answer, "first", {}, "file.csv, row 1")


@pytest.mark.parametrize(
    ("answer", "num_options"),
    [
        ({"predicted": "C"}, 2),
        ({"log_probs": [-0.1, -2.4, -3.0]}, 2),
        ({"orders": [{"predicted": "A"}]}, 2),
        ({"orders": [{"predicted": "A"}, {"predicted": "C"}]}, 2),
        ({"blank": {"predicted": "D"}}, 3),
        ({"predicted": "A"}, 0),
    ],
)
def test_an_answer_to_other_options_is_refused(
    tmp_path: Path, answer: dict[str, object], num_options: int
) -> None:
    with AnswerLog(tmp_path / "a.jsonl", MADE_FROM) as log:
        log.append([line("0", **answer)])
        with pytest.raises(RunError, match="row 0 is one to other options"):
            log.records([question(tuple("abc"[:num_options]))])


def test_answers_come_in_the_order_of_their_questions(tmp_path: Path) -> None:
    with AnswerLog(tmp_path / "a.jsonl", MADE_FROM) as log:
        log.append([line("0")])
        assert log.records([question(("a", "b"))]) == [line("0")]


def test_a_file_without_a_whole_line_is_not_ours_and_stays(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("something else")
    with pytest.raises(RunError, match="is no file of answers"):
        AnswerLog(tmp_path / "a.jsonl", MADE_FROM)
    assert (tmp_path / "a.jsonl").read_text() == "something else"
