"""Readers of ``metrics.json``, of a whole run and of each of its folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tcssa.errors import RunError
from tcssa.files.boundary import reading
from tcssa.files.text import first_fault, read_json, validated
from tcssa.mil.reporting.metric_names import titles
from tcssa.mil.results.history import Epoch
from tcssa.mil.tasks.serialization import task_of_metrics

METRICS_FILE = "metrics.json"


class _Part(BaseModel):
    """A part of the file; keys that a later version added are allowed."""

    model_config = ConfigDict(extra="allow")


class _Score(_Part):
    """A `tcssa.statistics.intervals.Score`."""

    value: float | None
    low: float | None
    high: float | None

    @model_validator(mode="after")
    def _require_whole(self) -> _Score:
        ends = {self.low is None, self.high is None}
        if len(ends) > 1 or (self.value is None and ends == {False}):
            raise ValueError("it lacks an end of its interval, or has one without a value")
        return self


class _Figures(_Part):
    """Metrics of some slides: a `_Score` under the name of each metric, and details."""

    num_slides: int
    num_cases: int
    confusion: list[list[int]] = []
    num_events: int | None = None
    log_rank_p: float | None = None
    targets: dict[str, _Figures | None] = {}

    @model_validator(mode="after")
    def _require_scores(self) -> _Figures:
        for name, value in (self.model_extra or {}).items():
            if titles([name], "auc"):
                try:
                    _Score.model_validate(value)
                except ValidationError as fault:
                    raise ValueError(f"{name} is no figure: {first_fault(fault)}") from None
        return self

    def require(self, metrics: list[str], num_labels: int) -> None:
        """Require a score for each metric, and a confusion of all labels if there is one.

        Args:
            metrics: Names of the metrics.
            num_labels: Number of labels, so of rows and columns of the confusion matrix.

        Raises:
            ValueError: A metric is missing, or the confusion matrix is of another size.
        """
        missing = [name for name in metrics if name not in (self.model_extra or {})]
        if missing:
            raise ValueError(f"its figures lack {', '.join(missing)}")
        sides = {len(self.confusion), *map(len, self.confusion)}
        if "confusion" in self.model_fields_set and sides != {num_labels}:
            raise ValueError(f"its confusion is not of {num_labels} labels")


class _Spread(_Part):
    mean: float | None
    sd: float | None


class _Fold(_Part):
    fold: int
    best_epoch: int
    val_loss: float
    effective_slots: float | None
    test: dict[str, float | None]
    num_test_slides: int


class _RunMetrics(_Part):
    pooled: _Figures
    over_folds: dict[str, _Spread]
    folds: list[_Fold] = Field(min_length=1)


class FoldMetrics(BaseModel):
    """The content of a fold's ``metrics.json``."""

    model_config = ConfigDict(frozen=True)

    epochs: list[Epoch] = Field(min_length=1)
    best_epoch: int = Field(ge=0)
    test: dict[str, float | None]

    @model_validator(mode="after")
    def _require_alike(self) -> FoldMetrics:
        if self.best_epoch >= len(self.epochs):
            raise ValueError(f"epoch {self.best_epoch} is kept, of {len(self.epochs)}")
        if len({(tuple(epoch.val_scores), _num_slots(epoch)) for epoch in self.epochs}) > 1:
            raise ValueError("its epochs do not have the same figures")
        return self


def _num_slots(epoch: Epoch) -> int | None:
    return None if epoch.slots is None else len(epoch.slots.utilisation)


def read_metrics(run: Path) -> dict[str, Any]:
    """Read the ``metrics.json`` of a run.

    Raises:
        RunError: The file is missing, damaged, or lacks a metric of the run's task.
    """
    path = run / METRICS_FILE
    content: dict[str, Any] = read_json(path, RunError, top=dict)
    metrics = validated(content, path, RunError, _RunMetrics)
    with reading(path, RunError):
        task = task_of_metrics(content)
        names = list(task.metrics)
        metrics.pooled.require(names, len(task.label_names))
        for found in (set(metrics.over_folds), *(set(fold.test) for fold in metrics.folds)):
            if missing := sorted(set(names) - found):
                raise ValueError(f"its folds lack {', '.join(missing)}")
    return content


def read_fold_metrics(folder: Path) -> FoldMetrics:
    """Read the ``metrics.json`` of a fold.

    Raises:
        RunError: The file is missing or damaged.
    """
    path = folder / METRICS_FILE
    return validated(read_json(path, RunError, top=dict), path, RunError, FoldMetrics)
