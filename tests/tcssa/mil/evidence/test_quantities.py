"""What evidence is for, by the kind of label."""

import numpy as np

from tcssa.mil.evidence.quantities import leading, quantities_of
from tcssa.mil.tasks import Classes, Ordinal, Regression, Several, Survival


def test_evidence_for_a_class_is_against_the_mean_of_the_others() -> None:
    found = quantities_of(Classes(("a", "b", "c")))
    np.testing.assert_allclose(found["b"], [-0.5, 1, -0.5])
    assert leading(Classes(("a", "b", "c")), np.array([0.0, 3.0, 1.0])) == ["b"]


def test_a_constant_on_all_logits_is_no_evidence() -> None:
    for factors in quantities_of(Classes(("a", "b"))).values():
        assert factors @ np.array([7.0, 7.0]) == 0


def test_grades_numbers_and_survival_have_one_quantity() -> None:
    assert quantities_of(Regression()) == {"higher number": np.ones(1)}
    assert list(quantities_of(Ordinal(("0", "1", "2")))) == ["higher grade"]
    found = quantities_of(Survival(num_spans=4, edges=(1.0, 2.0, 3.0)))
    np.testing.assert_allclose(found["higher risk"], np.full(4, 0.25))


def test_several_targets_have_those_of_each() -> None:
    task = Several({"kind": Classes(("a", "b")), "grade": Ordinal(("0", "1", "2"))})
    found = quantities_of(task)
    assert list(found) == ["kind: a", "kind: b", "grade: higher grade"]
    np.testing.assert_allclose(found["kind: b"], [-1, 1, 0, 0])
    np.testing.assert_allclose(found["grade: higher grade"], [0, 0, 0.5, 0.5])
    assert leading(task, np.array([2.0, 1.0, 0.0, 0.0])) == ["kind: a", "grade: higher grade"]
