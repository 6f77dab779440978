"""Names of metrics in texts and tables."""

import pytest

from tcssa.mil.reporting.metric_names import titles, written


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("auc", "AUC"),
        ("brier", "Brier score"),
        ("ER: auc", "ER: AUC"),
        ("stage: T: macro_f1", "stage: T: macro F1"),
        ("of_a_plugin", "of a plugin"),
    ],
)
def test_names_in_a_text_have_no_remarks(metric: str, text: str) -> None:
    assert written(metric) == text


def test_the_headline_stands_first_and_other_things_are_left_out() -> None:
    found = titles(["accuracy", "confusion", "brier", "auc"], "brier")
    assert list(found) == ["brier", "auc", "accuracy"]
    assert found["brier"].endswith("(low is good)")


def test_kappa_of_classes_says_that_they_must_be_grades() -> None:
    assert "if classes are grades" in titles(["weighted_kappa"], "auc")["weighted_kappa"]
    assert "quadratic" in titles(["weighted_kappa"], "weighted_kappa")["weighted_kappa"]
