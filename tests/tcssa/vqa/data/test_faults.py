"""Faults of question files, counted by kind and by row."""

from tcssa.vqa.data.faults import (
    EMPTY_ANSWER,
    MALFORMED,
    REPEATED_ID,
    Fault,
    count_faults,
    num_left_out,
)

FAULTS = [
    Fault(3, MALFORMED, "no question"),
    Fault(3, EMPTY_ANSWER, "no answer"),
    Fault(5, MALFORMED, "no slide"),
    Fault(7, REPEATED_ID, "id 7", left_out=False),
]


def test_kinds_are_counted_and_the_most_frequent_stands_first() -> None:
    assert next(iter(count_faults(FAULTS).items())) == (MALFORMED, 2)


def test_a_row_with_two_faults_is_left_out_once() -> None:
    assert num_left_out(FAULTS) == 2


def test_a_long_text_of_the_file_stays_one_line() -> None:
    text = str(Fault(2, MALFORMED, "a\nb\x1b[31m" + "c" * 10_000))
    assert text.startswith("row 2: a")
    assert "\n" not in text
    assert "\x1b" not in text
    assert len(text) < 400
