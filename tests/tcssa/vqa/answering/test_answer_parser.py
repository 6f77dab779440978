"""Replies and the options they mean, or do not mean."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcssa.vqa.answering.answer_parser import parse_answer

OPTIONS = ("Invasive ductal carcinoma", "Lobular carcinoma", "A tumor of the stroma", "Carcinoma")


@pytest.mark.parametrize(
    ("reply", "index"),
    [
        ("B", 1),
        ("b", 1),
        ("B.", 1),
        ("(B)", 1),
        ("[B]", 1),
        ("**B**", 1),
        ("Answer: C", 2),
        ("answer: (C).", 2),
        ("The answer is C", 2),
        ("The correct answer is: D.", 3),
        ("Therefore, the answer is B", 1),
        ("Option D", 3),
        ("B. Lobular carcinoma", 1),
        ("B) Lobular carcinoma.", 1),
        ("(B) lobular carcinoma", 1),
        ("Lobular carcinoma", 1),
        ("lobular  carcinoma.", 1),
        ("Carcinoma", 3),
        ("A tumor of the stroma", 2),
        ("<think>B looks right, or C</think>\n\nD", 3),
        ("<think>B</think><THINK>C</THINK>D", 3),
    ],
)
def test_what_can_be_read_in_one_way_is_read(reply: str, index: int) -> None:
    assert parse_answer(reply, OPTIONS) == index


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "   ",
        "A tumor…",
        "A tumor is seen here",
        "A or B",
        "A, B",
        "A B",
        "AB",
        "E",
        "Answer: E",
        "I cannot tell",
        "The slide shows lobular carcinoma and invasive ductal carcinoma",
        "B. Invasive ductal carcinoma",
        "<think>The answer is B",
        "<think>no</think>B <think>or",
        "Because",
        "5",
    ],
)
def test_what_cannot_is_invalid(reply: str) -> None:
    assert parse_answer(reply, OPTIONS) is None


def test_a_text_that_two_options_share_is_no_answer() -> None:
    assert parse_answer("Grade 2", ("Grade 2", "grade 2.")) is None


@given(
    st.integers(0, 25), st.sampled_from(["{}", "{}.", "({})", "Answer: {}", "The answer is {}."])
)
def test_every_letter_comes_back(index: int, form: str) -> None:
    options = [f"option number {i}" for i in range(26)]
    assert parse_answer(form.format(chr(ord("A") + index)), options) == index


@pytest.mark.parametrize(
    "reply",
    ["</think>" + "<think>" * 100_000, "A" + " " * 100_000 + "x", "[" + "\n" * 100_000 + "x"],
    ids=["thoughts", "spaces", "lines"],
)
def test_a_long_reply_is_read_in_one_pass(reply: str) -> None:
    begin = time.monotonic()
    assert parse_answer(reply, OPTIONS) is None
    assert time.monotonic() - begin < 5
