"""Options in other orders, and what that tells of a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcssa.vqa.answering.controls import circle, others
from tcssa.vqa.answering.permutation import mean_choice, position_bias, shifted, unshifted
from tcssa.vqa.answering.reply import Reply


@given(num=st.integers(2, 26), shift=st.integers(0, 25), chosen=st.integers(0, 25))
def test_a_reply_is_brought_back_to_the_files_order(num: int, shift: int, chosen: int) -> None:
    shift, chosen = shift % num, chosen % num
    options = list(range(num))
    shown = shifted(options, shift)
    log_probs = tuple(float(option) for option in shown)  # each option's own value
    reply = unshifted(Reply(shown.index(chosen), log_probs), shift, num)
    assert reply.predicted == chosen
    assert reply.log_probs == tuple(float(option) for option in options)


def test_every_option_stands_at_every_letter_once() -> None:
    orders = [shifted("abcd", shift) for shift in range(4)]
    assert sorted(map(str, zip(*orders, strict=True))) == sorted(
        str(tuple(shifted("abcd", shift))) for shift in range(4)
    )


def test_a_model_that_always_says_the_second_letter_is_found_out() -> None:
    questions = [
        # shown at place 1 in order s is option (1 + s) % 4
        {"num_options": 4, "answer": answer, "orders": [(1 + s) % 4 for s in range(4)]}
        for answer in (0, 1, 2, 3, 3)
    ]
    found = position_bias(questions)
    assert found["consistency"] == 0
    assert found["accuracy"] == 0.25  # whichever options are right
    assert found["letters"]["B"]["share"] == 1
    assert found["letters"]["B"]["accuracy"] == 1
    assert found["letters"]["A"] == {"share": 0, "expected": 0.25, "accuracy": 0}


def test_a_model_that_looks_at_options_alone_has_no_bias() -> None:
    questions = [
        {"num_options": n, "answer": 0, "orders": [chosen] * n}
        for n, chosen in ((4, 0), (4, 2), (2, 1), (3, 0))
    ]
    found = position_bias(questions)
    assert found["consistency"] == 1
    assert found["accuracy"] == 0.5
    for figures in found["letters"].values():
        assert figures["share"] == pytest.approx(figures["expected"])


def test_orders_without_an_answer_are_not_consistent() -> None:
    found = position_bias([{"num_options": 2, "answer": 1, "orders": [None, None]}])
    assert found["consistency"] == found["accuracy"] == 0


def test_the_mean_over_orders_outweighs_one_wrong_order() -> None:
    assert mean_choice([[-0.1, -2.0], [-0.9, -0.5], [-0.2, -1.8]]) == 0


@given(st.sets(st.text(min_size=1, max_size=5), min_size=2, max_size=40))
def test_each_slide_meets_another_and_each_is_met_once(names: set[str]) -> None:
    other_of = others(circle(names))
    assert set(other_of) == set(other_of.values()) == names
    assert all(slide != other for slide, other in other_of.items())


def test_the_circle_depends_on_nothing_but_the_names() -> None:
    assert circle(["c", "a", "b", "a"]) == circle(["b", "c", "a"])
    assert others(circle(["alone"])) == {}
