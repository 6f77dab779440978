"""Slots against labels: the planted one is found, the numbers are those of a hand computation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control  # type: ignore[import-untyped]  # ships no types
from slot_runs import patches_of, planted_model, slide_of

from tcssa.mil.slots.association import association_of, benjamini_hochberg
from tcssa.mil.slots.routed import RoutedSlide, route


def routed(counts: list[int], label: int, case: str, num_classes: int = 2) -> RoutedSlide:
    model = planted_model(num_classes=num_classes)
    name = f"{case}-{counts}"
    return route(model, torch.from_numpy(patches_of(counts)), slide_of(name, label, case), 0)


def test_q_values_equal_a_hand_computation() -> None:
    # sorted .01 .02 .03 .5, times 4 over the rank: .04 .04 .04 .5
    assert benjamini_hochberg([0.03, 0.5, 0.01, 0.02]) == pytest.approx([0.04, 0.5, 0.04, 0.04])
    # .005 * 3 = .015, .04 * 3 / 2 = .06, .9
    assert benjamini_hochberg([0.9, 0.04, 0.005]) == pytest.approx([0.9, 0.06, 0.015])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_q_values_equal_another_implementation(p_values: list[float]) -> None:
    expected = false_discovery_control(p_values, method="bh")
    np.testing.assert_allclose(benjamini_hochberg(p_values), expected, rtol=1e-12)


def test_the_planted_slot_stands_and_the_constant_one_does_not() -> None:
    # slots 0 and 1 share what slot 2 leaves, in parts that the label knows nothing of
    shares = [[9, 0], [6, 3], [4, 5], [2, 7], [7, 2], [3, 6]]
    slides = [
        routed([a, b, 1 if label == 0 else 11 + i, 0], label, f"p{label}{i}")
        for label in (0, 1)
        for i, (a, b) in enumerate(shares)
    ]
    found = association_of(slides, 2)
    assert found.counts == {0: 6, 1: 6}
    assert found.smallest_p == pytest.approx(2 / 924)
    planted, constant = found.slots[2], found.slots[3]
    assert planted.auc == 1
    assert planted.p_value < 0.01
    assert planted.q_value < 0.05
    assert (constant.p_value, constant.auc) == (1, 0.5)
    assert planted.q_value == min(row.q_value for row in found.slots)


def test_slides_of_one_patient_count_once() -> None:
    one = [routed([4, 4, 1, 0], 0, "a"), routed([4, 4, 2, 0], 0, "b"), routed([1, 1, 8, 0], 1, "c")]
    many = [*one, *[routed([1, 1, 8, 0], 1, "c") for _ in range(5)]]
    assert association_of(many, 2).slots == association_of(one, 2).slots
    assert association_of(many, 2).counts == {0: 2, 1: 1}


def test_three_classes_are_tested_together_and_the_class_is_named() -> None:
    slides = [
        routed([5, 5, [1, 2, 20][label] + i, 0], label, f"p{label}{i}", num_classes=3)
        for label in range(3)
        for i in range(4)
    ]
    found = association_of(slides, 3).slots[2]
    assert found.test == "Kruskal-Wallis"
    assert found.p_value < 0.05
    assert (found.auc, found.auc_class) == (1, 2)


def test_one_class_alone_has_no_association() -> None:
    assert (
        association_of([routed([1, 2, 3, 0], 1, "a"), routed([2, 1, 1, 0], 1, "b")], 2).slots == []
    )
