"""Questions and the normal form of their words."""

import pytest

from tcssa.vqa.conversation import MAX_OPTIONS, Question, same_words


def question(answer: str | None) -> Question:
    return Question("1", ("S",), "Which?", ("a", "b", "c"), answer, "c", {}, "file.csv, row 1")


def test_the_right_option_is_counted_from_0() -> None:
    assert question("C").answer_index == 2
    assert MAX_OPTIONS == 26


@pytest.mark.parametrize("text", ["Lung  cancer.", " lung cancer ", "LUNG\ncancer ."])
def test_case_spaces_and_full_stops_make_no_difference(text: str) -> None:
    assert same_words(text) == "lung cancer"


def test_a_full_stop_within_stays() -> None:
    assert same_words("pT1.5 (approx.) left.") == "pt1.5 (approx.) left"
