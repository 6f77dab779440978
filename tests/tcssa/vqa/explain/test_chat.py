"""Conversations about one slide."""

from pathlib import Path

import pytest
from factories import write_bag
from html_pages import read_page
from vqa_runs import write_tiny_run

from tcssa.reporter import Silent
from tcssa.vqa.explain.chat import chat
from tcssa.vqa.explain.chat_settings import ChatSettings
from tcssa.vqa.explain.slide_session import Answer

SHORT = ChatSettings(device="cpu", max_new_tokens=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    write_tiny_run(folder)
    write_bag(folder / "S1.h5", 60, seed=4)
    return folder


def talk(
    folder: Path, *questions: str, settings: ChatSettings = SHORT, html: Path | None = None
) -> tuple[list[Answer], str, list[str]]:
    """A conversation: its answers, what was streamed, the warnings."""
    pieces: list[str] = []
    reporter = Silent()
    answers = chat(
        folder / "run", folder / "S1.h5", questions, reporter, settings,
        write=pieces.append, told=lambda answer: pieces.append("|"), html=html,
    )  # fmt: skip
    return answers, "".join(pieces), reporter.warnings


def test_answers_are_streamed_and_rest_on_slots(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "chat.html"
    answers, streamed, _ = talk(folder, "What is seen?", "And <why>?", html=page)
    assert streamed == "".join(f"{answer.text}|" for answer in answers)
    assert [len(answer.slots) for answer in answers] == [6, 6]
    shown = read_page(page)
    assert "And <why>?" in shown.text
    assert len(shown.attributes("img")) == 2


def test_an_answer_is_given_with_what_was_said_before(folder: Path) -> None:
    (first, second), *_ = talk(folder, "What is seen?", "Is it odd?")
    (again, other), *_ = talk(folder, "Which organ is it?", "Is it odd?")
    (alone,), *_ = talk(folder, "Is it odd?")
    likelihoods = {each.log_likelihood for each in (second, other, alone)}
    assert len(likelihoods) == 3
    assert first.question == "What is seen?"
    assert again.question == "Which organ is it?"


def test_the_system_prompt_counts(folder: Path) -> None:
    plain, told = (
        talk(folder, "What?", settings=SHORT.model_copy(update={"system": system}))[0][0]
        for system in (None, "Be brief.")
    )
    assert plain.log_likelihood != told.log_likelihood


def test_a_turn_without_room_is_told_and_the_conversation_goes_on(folder: Path) -> None:
    answers, _, warnings = talk(folder, "What?", "Why? " * 900, "Where?")
    assert [answer.question for answer in answers] == ["What?", "Where?"]
    assert "the model reads 4096" in warnings[0]


def test_the_first_question_is_worded_as_asked_for(folder: Path) -> None:
    (plain,), *_ = talk(folder, "What is seen?")
    (worded,), *_ = talk(
        folder, "What is seen?", settings=SHORT.model_copy(update={"prompt": "tc-ssa"})
    )
    assert plain.log_likelihood != worded.log_likelihood
