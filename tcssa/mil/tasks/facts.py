"""A task from the plain data that it left in a checkpoint or in ``metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tcssa.mil.tasks.base import MilTask
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.ordinal import Ordinal
from tcssa.mil.tasks.several import Several
from tcssa.mil.tasks.survival import Survival

_OF_CLASSES = {kind.kind: kind for kind in (Classes, Ordinal)}


def task_from_facts(facts: Mapping[str, Any]) -> MilTask:
    """What `MilTask.facts` wrote.

    Raises:
        ValueError: They are of a kind that this version does not know, or incomplete.
    """
    try:
        kind = facts["kind"]
        if kind in _OF_CLASSES:
            return _of_classes(facts)
        if kind == Survival.kind:
            return Survival(int(facts["num_spans"]), tuple(map(float, facts["edges"])))
        if kind == Several.kind:
            return Several({n: _of_classes(target) for n, target in facts["targets"].items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"incomplete facts of a label ({error})") from None
    raise ValueError(f"unknown kind of label {kind!r}")


def _of_classes(facts: Mapping[str, Any]) -> Classes:
    return _OF_CLASSES[facts["kind"]](tuple(facts["classes"]))


def named_task(facts: Mapping[str, Any] | None, classes: Sequence[str]) -> MilTask:
    """The task that facts tell of; without any, these classes."""
    return Classes(tuple(classes)) if facts is None else task_from_facts(facts)


def task_of_metrics(metrics: Mapping[str, Any]) -> MilTask:
    """The task of a run or an evaluation, from its ``metrics.json``; plain classes have no name."""
    return named_task(metrics.get("task"), metrics.get("classes", ()))


def task_facts(task: MilTask) -> dict[str, Any]:
    """What `task_of_metrics` reads."""
    if is_plain(task):
        return {"classes": task.outputs}
    return {"task": task.facts()}


def is_plain(task: MilTask) -> bool:
    """Whether it is classes that exclude each other, which nobody needs to be told."""
    return task.kind == Classes.kind
