"""Pooled figures that say less than the folds' own."""

import pytest

from tcssa.mil.results.mixed_scales import mixed_scales


def test_a_pooled_ranking_far_below_the_folds_is_told() -> None:
    found = mixed_scales("auc", 0.71, 0.992)
    assert found is not None
    assert found.startswith("the pooled AUC 0.710 is below the folds' own, 0.992 on average")


@pytest.mark.parametrize(
    ("metric", "pooled", "fold_mean"),
    [
        ("auc", 0.95, 0.97),
        ("auc", 0.9, 0.7),
        ("accuracy", 0.5, 0.9),
        ("auc", None, 0.9),
        ("c_index", 0.5, None),
    ],
)
def test_other_figures_are_left_alone(
    metric: str, pooled: float | None, fold_mean: float | None
) -> None:
    assert mixed_scales(metric, pooled, fold_mean) is None
