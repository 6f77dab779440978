"""Slots against labels: the planted one is found, the numbers are those of a hand computation."""

import pytest
import torch
from slot_runs import patches_of, planted_model, slide_of

from tcssa.mil.slots.association import association_of
from tcssa.mil.slots.routed import RoutedSlide, route


def routed(counts: list[int], label: int, case: str, num_classes: int = 2) -> RoutedSlide:
    model = planted_model(num_classes=num_classes)
    name = f"{case}-{counts}"
    return route(model, torch.from_numpy(patches_of(counts)), slide_of(name, label, case), 0)


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
