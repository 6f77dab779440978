"""Tasks as the plain data that is kept in a checkpoint or in ``metrics.json``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from tcssa.files.text import first_fault
from tcssa.mil.tasks.base import MilTask
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.multitask import Several
from tcssa.mil.tasks.ordinal import Ordinal
from tcssa.mil.tasks.regression import Regression
from tcssa.mil.tasks.survival import Survival

_MOST_SPANS = 10_000


class _Facts(BaseModel):
    """Plain data of a task, read strictly: numbers must be numbers, and names text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _ClassFacts(_Facts):
    """Facts of classes, or of grades in their order."""

    kind: Literal["classes", "ordinal"]
    classes: list[str] = Field(min_length=1)

    @model_validator(mode="after")
    def _require_distinct(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class appears twice")
        return self

    def task(self) -> Classes:
        """Return the task of these classes."""
        kind = Classes if self.kind == Classes.kind else Ordinal
        return kind(tuple(self.classes))


class _SurvivalFacts(_Facts):
    """Facts of the time to an event."""

    kind: Literal["survival"]
    num_spans: int = Field(ge=2, le=_MOST_SPANS)
    edges: list[FiniteFloat]
    """Where a span ends and the next begins; empty before the task is fitted."""

    @model_validator(mode="after")
    def _require_rising(self) -> Self:
        if len(self.edges) not in (0, self.num_spans - 1):
            raise ValueError(f"{self.num_spans} spans have {self.num_spans - 1} edges")
        if any(b < a for a, b in itertools.pairwise(self.edges)):
            raise ValueError("the edges of spans do not rise")
        return self

    def task(self) -> Survival:
        """Return the task of these spans."""
        return Survival(self.num_spans, tuple(self.edges))


class _RegressionFacts(_Facts):
    """Facts of a number."""

    kind: Literal["regression"]
    cuts: list[FiniteFloat]
    mean: FiniteFloat
    sd: FiniteFloat = Field(gt=0)

    @model_validator(mode="after")
    def _require_rising(self) -> Self:
        if any(b <= a for a, b in itertools.pairwise(self.cuts)):
            raise ValueError("the cuts between ranges do not rise")
        return self

    def task(self) -> Regression:
        """Return the task of this number."""
        return Regression(tuple(self.cuts), self.mean, self.sd)


class _SeveralFacts(_Facts):
    """Facts of several labels at once."""

    kind: Literal["several"]
    targets: dict[str, Annotated[_ClassFacts | _RegressionFacts, Field(discriminator="kind")]] = (
        Field(min_length=1)
    )

    def task(self) -> Several:
        """Return the task of these targets."""
        return Several({name: target.task() for name, target in self.targets.items()})


_KINDS: dict[str, type[_ClassFacts | _RegressionFacts | _SurvivalFacts | _SeveralFacts]] = {
    Classes.kind: _ClassFacts,
    Ordinal.kind: _ClassFacts,
    Regression.kind: _RegressionFacts,
    Survival.kind: _SurvivalFacts,
    Several.kind: _SeveralFacts,
}


def task_from_facts(facts: object) -> MilTask:
    """Read what `MilTask.facts` wrote.

    Raises:
        ValueError: The facts are of an unknown kind, incomplete or not valid.
    """
    kind = facts.get("kind") if isinstance(facts, Mapping) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"unknown kind of label {kind!r}")
    try:
        return _KINDS[kind].model_validate(facts).task()
    except ValidationError as fault:
        raise ValueError(f"the facts of the label are not valid: {first_fault(fault)}") from None


def named_task(facts: object, outputs: Sequence[str]) -> MilTask:
    """Make the task that facts describe.

    Args:
        facts: Facts of the task; None for classes that exclude each other.
        outputs: Names of the outputs, which are the classes if there are no facts.

    Raises:
        ValueError: The facts are not valid, or belong to another number of outputs.
    """
    if facts is None:
        return task_from_facts({"kind": Classes.kind, "classes": list(outputs)})
    task = task_from_facts(facts)
    if len(task.outputs) != len(outputs):
        raise ValueError(f"{len(outputs)} outputs do not fit {task.sentence()}")
    return task


def task_of_metrics(metrics: Mapping[str, Any]) -> MilTask:
    """Return the task of a run or an evaluation, from its ``metrics.json``.

    Without a ``task`` there, it is plain classes.

    Raises:
        ValueError: The task is missing or not valid.
    """
    plain = {"kind": Classes.kind, "classes": metrics.get("classes")}
    return task_from_facts(metrics["task"] if metrics.get("task") is not None else plain)


def task_facts(task: MilTask) -> dict[str, Any]:
    """Return the facts of a task as `task_of_metrics` reads them."""
    if is_plain(task):
        return {"classes": task.outputs}
    return {"task": task.facts()}


def is_plain(task: MilTask) -> bool:
    """Tell whether a task is of classes that exclude each other, the default."""
    return task.kind == Classes.kind
