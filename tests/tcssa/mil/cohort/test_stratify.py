"""Divisions by several labels at once."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcssa.mil.cohort.stratify import parts_of
from tcssa.mil.tasks import Classes, Several
from tcssa.mil.tasks.prediction import Prediction

TASK = Several({"a": Classes(("x", "y")), "b": Classes(("x", "y"))})


def slides_of(truths: list[tuple[float | None, float | None]]) -> list[Prediction]:
    return [Prediction(str(i), "", 0, (), truth=truth) for i, truth in enumerate(truths)]


VALUES = st.sampled_from([0.0, 1.0, None])


@settings(max_examples=40)
@given(st.lists(st.tuples(VALUES, VALUES, st.integers(0, 9)), min_size=12, max_size=40))
def test_parts_hold_every_slide_once_and_groups_whole(
    rows: list[tuple[float | None, float | None, int]],
) -> None:
    groups = [str(group) for *_, group in rows]
    slides = slides_of([(a, b) for a, b, _ in rows])
    if len(set(groups)) < 3:
        with pytest.raises(ValueError, match=r"groups|splits|members"):
            parts_of(slides, groups, TASK, 3, 0)
        return
    parts = parts_of(slides, groups, TASK, 3, 0)
    assert sorted(index for part in parts for index in part) == list(range(len(rows)))
    of_group = Counter(group for part in parts for group in {groups[i] for i in part})
    assert set(of_group.values()) == {1}


def test_rare_classes_of_every_target_are_spread() -> None:
    rng = np.random.default_rng(0)
    rare = [rng.permutation([1.0] * 5 + [0.0] * 45).tolist() for _ in range(2)]
    slides = slides_of(list(zip(*rare, strict=True)))
    groups = [slide.slide_id for slide in slides]
    parts = parts_of(slides, groups, TASK, 5, 0)
    for target in range(2):
        assert [sum(slides[i].truth[target] == 1 for i in part) for part in parts] == [1] * 5
    assert {len(part) for part in parts} <= {9, 10, 11}


def test_the_seed_makes_another_division() -> None:
    slides = slides_of([(float(i % 2), float(i % 3 == 0)) for i in range(30)])
    groups = [slide.slide_id for slide in slides]
    assert parts_of(slides, groups, TASK, 3, 0) == parts_of(slides, groups, TASK, 3, 0)
    assert parts_of(slides, groups, TASK, 3, 0) != parts_of(slides, groups, TASK, 3, 1)
