"""Published figures stand beside a run's own, for its method and its size, with their caveat."""

from typing import Any

import pytest

from tcssa.config.recipes import RecipeName
from tcssa.mil.reporting.published_figures import expectations
from tcssa.mil.settings import MilSettings, ModelSettings

POOLED: dict[str, Any] = {
    "auc": {"value": 0.9531, "low": 0.9, "high": 0.99},
    "accuracy": {"value": 0.7, "low": None, "high": None},
}


def stated(
    dataset: str | None, method: str, num_slots: int = 32, recipe: RecipeName = "paper"
) -> list[tuple[str, str, str]]:
    model = ModelSettings(name=method, num_slots=num_slots)
    rows = expectations(MilSettings(dataset=dataset, model=model, recipe=recipe), POOLED)
    return [(row.name, row.here, row.figure.fraction) for row in rows]


def test_the_figure_of_the_size_of_the_run_stands_beside_its_own() -> None:
    here = "0.953 (0.900 – 0.990)"
    assert stated("nsclc", "tcssa", 64) == [("AUC, K = 64", here, "0.9827")]
    assert stated("nsclc", "tcssa", 8) == [("AUC, K = 8", here, "0.9801")]
    assert stated("nsclc", "rrt") == [("AUC", here, "0.9788 ± 0.0118")]


def test_of_a_size_that_nobody_stated_all_sizes_are_shown() -> None:
    assert [name for name, _, _ in stated("brca", "tcssa", 5)] == [
        f"AUC, K = {k}" for k in (32, 8, 16, 64, 128)
    ]


def test_two_names_for_one_figure_are_both_shown() -> None:
    assert [(name, here) for name, here, _ in stated("panda", "tcssa")] == [
        ("accuracy, K = 32", "0.700"),
        ("AUC, K = 32", "0.953 (0.900 – 0.990)"),
    ]


@pytest.mark.parametrize(
    ("dataset", "method"), [(None, "tcssa"), ("nsclc", "mean"), ("camelyon16", "tcssa")]
)
def test_where_nothing_is_stated_nothing_is_shown(dataset: str | None, method: str) -> None:
    assert stated(dataset, method) == []


def test_a_published_figure_is_not_held_against_another_recipe() -> None:
    assert stated("nsclc", "tcssa", 64, recipe="salient") == []


def test_a_run_without_the_metric_says_so() -> None:
    (row,) = expectations(MilSettings(dataset="nsclc", model=ModelSettings(name="abmil")), {})
    assert row.here == "not defined"
    assert row.to_dict()["stated_percent"] == 97.04
    assert "chosen on test" in row.to_dict()["caveat"]
