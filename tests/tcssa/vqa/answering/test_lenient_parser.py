"""Replies that a human would grade, and replies that nobody could."""

import time

import pytest

from tcssa.vqa.answering.answer_parser import parse_answer
from tcssa.vqa.answering.lenient_parser import parse_leniently

OPTIONS = ("Invasive ductal carcinoma", "Lobular carcinoma", "A tumor of the stroma", "Carcinoma")


@pytest.mark.parametrize(
    ("reply", "index"),
    [
        ("B because the cells stand in single file", 1),
        ("I think it's B.", 1),
        ("Based on the slide, the correct answer is (B) Lobular carcinoma.", 1),
        ("B: Lobular", 1),
        ("B, lobular carcinoma", 1),
        ("b) lobular carcinoma of the breast", 1),
        ("B - Lobular carcinoma", 1),
        ("B\n\nThe slide shows no glands.", 1),
        ("**Answer:** B) lobular, since A is a ductal one", 1),
        ("Answer: B\nExplanation: A is wrong because of the glands.", 1),
        ("ANSWER IS B", 1),
        ("Final answer: B", 1),
        ("The answer is A. No: final answer B", 1),
        ("答案是B", 1),
        ("<answer>B</answer>", 1),
        ('{"answer": "B"}', 1),
        ("B<|im_end|>", 1),
        ("Option B is correct", 1),
        ("I would choose option C", 2),
        ("not A but B", 1),
        ("A is incorrect, C is wrong; so B", 1),
        ("The most likely diagnosis is lobular carcinoma.", 1),
        ("Lobular carcinoma, not carcinoma in general", 1),
        ("The answer is A tumor of the stroma, clearly", 2),
        ("A is correct", 0),
    ],
)
def test_an_answer_within_sentences_counts(reply: str, index: int) -> None:
    assert parse_leniently(reply, OPTIONS) == index
    assert parse_answer(reply, OPTIONS) in (None, index)


@pytest.mark.parametrize(
    ("reply", "options", "index"),
    [
        ("Yes, the tumour is invasive.", ("Yes", "No"), 0),
        ("No evidence of invasion", ("Yes", "No"), 1),
        ("It is positive for ER", ("Positive", "Negative"), 0),
        ("Grade 2 is seen", ("Grade 1", "Grade 2", "Grade 3"), 1),
        ("T1, and no N1", ("T1", "N1"), 0),
    ],
)
def test_the_text_of_one_option_counts(reply: str, options: tuple[str, ...], index: int) -> None:
    assert parse_leniently(reply, options) == index


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "5",
        "AB",
        "E",
        "A, B",
        "A or B",
        "Either A or C",
        "Neither A nor B",
        "The answer is A. No, the answer is B.",
        "A tumor is seen here",
        "B. Invasive ductal carcinoma",
        "It may be lobular carcinoma or invasive ductal carcinoma",
        "no lobular carcinoma",
        "I cannot tell",
        "<think>The answer is B",
    ],
)
def test_what_nobody_could_grade_is_none(reply: str) -> None:
    assert parse_leniently(reply, OPTIONS) is None


@pytest.mark.parametrize("reply", ["answer " * 50_000, "not " * 50_000 + "A", "A " * 50_000])
def test_a_long_reply_is_read_in_one_pass(reply: str) -> None:
    begin = time.monotonic()
    parse_leniently(reply, OPTIONS)
    assert time.monotonic() - begin < 5
