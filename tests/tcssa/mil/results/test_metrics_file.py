"""Test results are read back as they were written, with their task, and damage is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from tcssa.errors import RunError
from tcssa.mil.results.metrics_file import (
    METRICS_FILE,
    FoldScores,
    RunMetrics,
    Spread,
    read_metrics,
)
from tcssa.mil.tasks import Classes, MilTask, Ordinal, Several, Survival

SCORE = {"value": 0.5, "low": 0.4, "high": 0.6}


def metrics_of(task: MilTask) -> RunMetrics:
    fold = FoldScores(
        fold=0,
        best_epoch=3,
        val_loss=0.25,
        val_scores={task.headline: None},
        effective_slots=None,
        test=dict.fromkeys(task.metrics, 0.5),
        num_test_slides=4,
    )
    return RunMetrics(
        task=task,
        pooled={**dict.fromkeys(task.metrics, SCORE), "num_slides": 4, "num_cases": 3},
        over_folds={name: Spread(mean=0.5, sd=None) for name in task.metrics},
        folds=[fold],
    )


def write(folder: Path, content: dict[str, Any]) -> Path:
    (folder / METRICS_FILE).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    "task",
    [
        Classes(("a", "b")),
        Ordinal(("1", "2", "3")),
        Survival(4),
        Several({"ER": Classes(("neg", "pos")), "HER2": Classes(("0", "1"))}),
    ],
)
def test_what_is_written_is_read_back_with_its_task(tmp_path: Path, task: MilTask) -> None:
    metrics = metrics_of(task)
    assert read_metrics(write(tmp_path, metrics.to_dict())) == metrics


def test_the_file_states_plain_classes_by_their_names_and_validation_scores_one_by_one() -> None:
    content = metrics_of(Classes(("a", "b"))).to_dict()
    assert list(content) == [
        "classes", "pooled", "over_folds", "site_lookup", "folds", "final", "calibration",
    ]  # fmt: skip
    assert content["classes"] == ["a", "b"]
    assert content["folds"][0]["val_auc"] is None
    assert list(content["folds"][0])[:4] == ["fold", "best_epoch", "val_loss", "val_auc"]
    assert metrics_of(Survival(4)).to_dict()["task"]["kind"] == "survival"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": ["a", "a"]}, "a class appears twice"),
        ({"folds": []}, "folds: List should have at least 1 item"),
        ({"over_folds": {}}, "its folds lack auc, balanced_accuracy"),
        ({"pooled": {"num_slides": 4, "num_cases": 3}}, "its figures lack auc"),
        ({"pooled": {"num_slides": "many", "num_cases": 3}}, "pooled: num_slides: "),
        ({"pooled": {"num_slides": 4, "num_cases": 3, "auc": 0.5}}, "auc is no figure"),
    ],
)
def test_a_damaged_file_is_one_line_that_says_where(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    content = metrics_of(Classes(("a", "b"))).to_dict() | change
    with pytest.raises(RunError, match=said) as caught:
        read_metrics(write(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_confusion_of_other_labels_is_named(tmp_path: Path) -> None:
    content = metrics_of(Classes(("a", "b"))).to_dict()
    content["pooled"]["confusion"] = [[1, 2, 3]]
    with pytest.raises(RunError, match="its confusion is not of 2 labels"):
        read_metrics(write(tmp_path, content))
