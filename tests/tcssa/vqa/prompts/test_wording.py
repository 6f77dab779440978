"""Wordings of questions: our own, those of others by name, and one of a file."""

from pathlib import Path

import pytest

from tcssa.errors import SettingsFileError, UnknownNameError, UsageError
from tcssa.vqa.conversation import Turn
from tcssa.vqa.prompts.wording import OWN, read_wording

OPTIONS = ("yes", " no")


def test_options_are_lettered_and_the_letter_is_asked_for() -> None:
    assert OWN.text(" Which? ", OPTIONS) == (
        "Which?\nA. yes\nB. no\nAnswer with the letter of the right option."
    )
    assert OWN.text("Which?\n") == "Which?"
    assert read_wording("own") is OWN


def test_the_wordings_of_others_are_theirs() -> None:
    tc_ssa = read_wording("tc-ssa")
    assert tc_ssa.turn("Which?", OPTIONS) == Turn(
        "user", "<image> Which?\nA) yes\nB) no\nAnswer with only the letter (A/B/C/D):"
    )
    assert tc_ssa.turn("Which?") == Turn("user", "<image> Which?")
    slidechat = read_wording("slidechat")
    assert slidechat.turn("Which?", OPTIONS) == Turn("user", "<image>\nWhich?\nA. yes\nB. no")
    assert all(wording.source for wording in (tc_ssa, slidechat))


def test_what_a_question_holds_is_no_blank() -> None:
    assert OWN.text("{options}?", ("{text}", "{x}")).startswith("{options}?\nA. {text}\nB. {x}\n")


def test_a_file_holds_a_wording(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text('question: "{options}\\n{question} Choose."\noption: "[{letter}] {text}"\n')
    assert read_wording(str(path)).text("Which?", OPTIONS) == "[A] yes\n[B] no\nWhich? Choose."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('question: "{question}"', "question must hold {options} and {question}"),
        ('question: "{question} {question} {options}"', "each once"),
        ('option: "{letter} {text} {more}"', "option must hold {letter} and {text}"),
        ('after_slide: "{question}"', "after_slide must hold no blank"),
        ("questions: x", "questions"),
        ("- a", "must hold names and values"),
    ],
)
def test_a_file_without_its_blanks_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(SettingsFileError, match=reason):
        read_wording(str(tmp_path / "mine.yaml"))


def test_a_name_that_is_none_and_one_that_is_a_file_too_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownNameError, match="unknown wording, and no file, 'slide-chat'") as no:
        read_wording("slide-chat")
    assert no.value.hint == "did you mean slidechat?"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tc-ssa").write_text("")
    with pytest.raises(UsageError, match="a file of that name lies here"):
        read_wording("tc-ssa")
