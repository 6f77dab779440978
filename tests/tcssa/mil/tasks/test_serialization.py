"""Kinds of label as plain data, there and back."""

import json
from typing import Any

import pytest

from tcssa.mil.tasks.base import MilTask
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.multitask import Several
from tcssa.mil.tasks.ordinal import Ordinal
from tcssa.mil.tasks.regression import Regression
from tcssa.mil.tasks.serialization import named_task, task_facts, task_from_facts, task_of_metrics
from tcssa.mil.tasks.survival import Survival

TASKS = [
    Classes(("LUAD", "LUSC")),
    Ordinal(("1", "2", "3")),
    Survival(3, (10.0, 20.0)),
    Regression((0.5,), 1.0, 2.0),
    Several({"ER": Classes(("no", "yes")), "TMB": Regression((), 0.0, 1.0)}),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_a_task_is_the_same_after_json(task: MilTask) -> None:
    facts = json.loads(json.dumps(task_facts(task)))
    assert task_of_metrics(facts).facts() == task.facts()


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        (None, "unknown kind of label None"),
        ({"kind": "ranks"}, "unknown kind of label 'ranks'"),
        ({"kind": "classes", "classes": ["a", "a"]}, "appears twice"),
        ({"kind": "classes", "classes": ["a", 1]}, "not valid"),
        ({"kind": "survival", "num_spans": 3, "edges": [2.0, 1.0]}, "do not rise"),
        ({"kind": "survival", "num_spans": 3, "edges": [1.0]}, "3 spans have 2 edges"),
        ({"kind": "survival", "num_spans": 10**9, "edges": []}, "not valid"),
        ({"kind": "regression", "cuts": [1.0, 1.0], "mean": 0.0, "sd": 1.0}, "do not rise"),
        ({"kind": "regression", "cuts": [], "mean": 0.0, "sd": 0.0}, "not valid"),
        ({"kind": "several", "targets": {}}, "not valid"),
    ],
)
def test_facts_that_no_task_wrote_are_refused(facts: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        task_from_facts(facts)


def test_outputs_must_be_as_many_as_the_task_has() -> None:
    assert named_task(None, ["a", "b"]).outputs == ["a", "b"]
    with pytest.raises(ValueError, match="3 outputs do not fit"):
        named_task(TASKS[0].facts(), ["a", "b", "c"])
