"""Scores of answers against cases one can work out by hand."""

from dataclasses import replace

import pytest

from tcssa.errors import UsageError
from tcssa.vqa.conversation import Question
from tcssa.vqa.evaluation.baselines import baselines
from tcssa.vqa.evaluation.metrics import Record, score


def record(slide: str, predicted: int | None, status: str = "answered", broad: str = "x") -> Record:
    return Record("r", slide, 0, predicted, status, {"broad": broad})


def test_rows_without_an_answer_count_as_wrong_and_stay_in_the_denominator() -> None:
    records = [
        record("a", 0),
        record("a", 1),
        record("b", None, "invalid"),
        record("c", None, "no_features"),
    ]
    tally = score(records).overall
    assert tally.num_rows == 4
    assert tally.num_slides == 3
    assert tally.accuracy["value"] == pytest.approx(1 / 4)
    assert tally.accuracy_answered["value"] == pytest.approx(1 / 2)
    assert tally.invalid_rate == pytest.approx(1 / 3)
    assert tally.statuses == {"answered": 2, "invalid": 1, "no_features": 1}


def test_macro_is_the_mean_of_the_groups() -> None:
    records = [record(str(i), 0, broad="easy") for i in range(9)]
    records.append(record("z", 1, broad="hard"))
    scores = score(records)
    assert scores.overall.accuracy["value"] == pytest.approx(0.9)
    assert scores.macro["broad"]["value"] == pytest.approx(0.5)
    assert scores.groups["broad"]["hard"].accuracy["value"] == 0
    assert scores.to_dict()["overall"]["num_rows"] == 10


def test_the_interval_is_over_slides_not_rows() -> None:
    many_slides = score([record(str(i), i % 2) for i in range(200)]).overall.accuracy
    two_slides = score([record(str(i % 2), i % 2) for i in range(200)]).overall.accuracy
    assert many_slides["low"] is not None
    assert many_slides["high"] is not None
    assert many_slides["high"] - many_slides["low"] < 0.2
    assert (two_slides["low"], two_slides["high"]) == (0, 1)


def test_the_same_seed_gives_the_same_interval() -> None:
    records = [record(str(i), i % 2) for i in range(20)]
    assert score(records, seed=3) == score(records, seed=3)


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(UsageError, match="no answer to score"):
        score([])


def question(slide: str, options: tuple[str, ...], answer: str) -> Question:
    text = options["ABCD".index(answer)]
    return Question(slide, (slide,), "what?", options, answer, text, {}, "x")


def test_baselines_answer_without_the_slide() -> None:
    asked = [
        question("a", ("no", "a long option"), "B"),
        question("b", ("no", "yes"), "A"),
        question("c", ("yes", "no"), "B"),
        question("d", ("no", "perhaps"), "B"),
        Question("e", ("e",), "open?", (), None, "text", {}, "x"),
    ]
    found = {baseline.name: baseline for baseline in baselines(asked)}
    letter = found["majority_letter"]
    assert (letter.rule, letter.fitted_on) == ("always B", "the other slides")
    assert letter.scores.overall.accuracy["value"] == pytest.approx(3 / 4)
    # "no" is right for b and c, so one other slide of each tells it, and wrong for a and d
    text = found["majority_option_text"].scores.overall
    assert text.num_rows == 4
    assert text.accuracy["value"] == pytest.approx(2 / 4)
    # longest: right for a, wrong for b ("yes" is longer), wrong for c, right for d
    assert found["longest_option"].scores.overall.accuracy["value"] == pytest.approx(2 / 4)
    assert found["longest_option"].fitted_on == "nothing"


def test_no_baseline_knows_the_answers_about_the_slide_it_is_asked_about() -> None:
    """Ten slides whose right texts are their own: the others tell nothing of the next."""
    asked = [
        question(f"s{i}", (f"text {i}", f"text {(i + 1) % 10}"), "AB"[i % 2]) for i in range(10)
    ]
    found = {baseline.name: baseline for baseline in baselines(asked)}
    assert found["majority_letter"].scores.overall.accuracy["value"] == 0  # the other letter leads
    assert found["majority_letter"].rule == "mostly B, then A"
    alone = [replace(each, slides=("one",)) for each in asked]
    assert [baseline.name for baseline in baselines(alone)] == ["longest_option"]


def test_a_baseline_learns_from_no_row_that_shares_a_slide() -> None:
    rows = [("a",), ("a", "b"), ("b", "c"), ("d",)]
    asked = [
        replace(question(str(n), ("no", "yes"), "ABBA"[n]), slides=slides)
        for n, slides in enumerate(rows)
    ]
    found = baselines(asked)[0]
    # a, b: only d is left, A; a: d and b + c tie, A; b, c: a and d, A; d: two of three, B
    assert found.rule == "mostly A, then B"
    assert found.scores.overall.accuracy["value"] == pytest.approx(1 / 4)


def test_a_baseline_without_a_row_to_learn_from_predicts_nothing() -> None:
    def asked(*rows: tuple[str, ...]) -> list[Question]:
        return [
            replace(question(str(n), ("no", "yes"), "A"), slides=slides)
            for n, slides in enumerate(rows)
        ]

    linked = asked(("a", "b"), ("b", "c"), ("c", "a"))
    assert [baseline.name for baseline in baselines(linked)] == ["longest_option"]
    letter, text, _ = baselines(asked(("a",), ("a", "b"), ("b",)))
    for found in (letter, text):  # the second shares a slide with both others
        assert found.scores.overall.accuracy["value"] == pytest.approx(2 / 3)
        assert found.scores.overall.statuses == {"answered": 2, "invalid": 1}
    assert letter.rule == "always A"


def test_a_baseline_can_be_fitted_on_training_rows() -> None:
    train = [question("t", ("no", "yes"), "A")]
    found = baselines([question("a", ("no", "yes"), "B")], train=train)[0]
    assert (found.rule, found.fitted_on) == ("always A", "training rows")
    assert found.scores.overall.accuracy["value"] == 0
