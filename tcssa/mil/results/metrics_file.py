"""Test results: ``metrics.json`` of a whole run, and of each of its folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from tcssa.errors import RunError
from tcssa.files.text import first_fault, read_model
from tcssa.mil.calibration.record import Calibration
from tcssa.mil.reporting.metric_names import titles
from tcssa.mil.results.history import Epoch, ValScored
from tcssa.mil.tasks import MilTask
from tcssa.mil.tasks.serialization import task_facts, task_of_metrics

METRICS_FILE = "metrics.json"


class Spread(BaseModel):
    """Mean and SD of a metric over folds: how much trainings differ, no confidence interval."""

    model_config = ConfigDict(frozen=True)

    mean: float | None
    """None where no fold has the metric."""
    sd: float | None
    """None with fewer than two folds that have it."""


class FoldScores(ValScored):
    """The result of one fold."""

    fold: int
    best_epoch: int
    val_loss: float
    """The lowest of the fold, that of its best epoch."""
    val_scores: dict[str, float | None]
    """Metrics of the validation part at the best epoch."""
    effective_slots: float | None
    """None for a method without slots."""
    test: dict[str, float | None]
    """Metrics of the test part; None where one is not defined."""
    num_test_slides: int
    calibration: dict[str, Calibration] = Field(default={})
    """Threshold and temperature of its model, by target; none in runs of before."""


class FinalModel(BaseModel):
    """The training of a run's final model: its length and its slides."""

    model_config = ConfigDict(frozen=True)

    epochs: int = Field(ge=1)
    num_slides: int = Field(ge=1)
    num_cases: int = Field(ge=1)


class RunMetrics(BaseModel):
    """The test results of a run: ``metrics.json``, the page and the terminal are made of them."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    task: MilTask
    """The kind of label; in the file its facts, or ``classes`` alone where these are all."""
    pooled: dict[str, Any]
    """Scores over the test slides of all folds; see `MilTask.score`."""
    over_folds: dict[str, Spread]
    """The folds' own scores, by metric."""
    site_lookup: dict[str, Any] | None = None
    """A `SiteConfound` as plain data, for several targets one for each; None without sites."""
    folds: list[FoldScores] = Field(min_length=1)
    final: FinalModel | None = None
    """The model trained on all patients, which the figures estimate; None without one."""
    calibration: dict[str, Calibration] = {}
    """Threshold and temperature of the model that predicts new slides, by target, from the
    validation predictions of all folds; none in runs of before."""

    @model_validator(mode="before")
    @classmethod
    def _read_task(cls, content: Any) -> Any:  # anything may be offered for validation
        if isinstance(content, dict) and not isinstance(content.get("task"), MilTask):
            return {**content, "task": task_of_metrics(content)}
        return content

    @field_validator("pooled")
    @classmethod
    def _require_figures(cls, pooled: dict[str, Any]) -> dict[str, Any]:
        try:
            _Figures.model_validate(pooled)
        except ValidationError as fault:
            raise ValueError(first_fault(fault)) from None
        return pooled

    @model_validator(mode="after")
    def _require_metrics_of_task(self) -> Self:
        parts = {"figures": self.pooled, "folds": self.over_folds}
        for what, found in (*parts.items(), *(("folds", fold.test) for fold in self.folds)):
            if missing := [name for name in self.task.metrics if name not in found]:
                raise ValueError(f"its {what} lack {', '.join(missing)}")
        confusion, num_labels = self.pooled.get("confusion"), len(self.task.label_names)
        if confusion is not None and {len(confusion), *map(len, confusion)} != {num_labels}:
            raise ValueError(f"its confusion is not of {num_labels} labels")
        return self

    def calibration_of(self, fold: int | None) -> dict[str, Calibration]:
        """Return the calibration of a fold's model, of None that of the one for new slides."""
        if fold is None:
            return self.calibration
        return next((one.calibration for one in self.folds if one.fold == fold), {})

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``metrics.json``."""
        return {**task_facts(self.task), **self.model_dump(exclude={"task"})}


class _Score(BaseModel):
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


class _Rates(BaseModel):
    """The share of a class that is found, and the share of others that is left alone."""

    sensitivity: _Score
    specificity: _Score


class _AtThreshold(_Rates):
    """The same at a threshold."""

    positive: str
    rule: str


class _Figures(BaseModel):
    """Metrics of some slides: a `_Score` under the name of each metric, and details."""

    model_config = ConfigDict(extra="allow")

    num_slides: int
    num_cases: int
    confusion: list[list[int]] = []
    by_class: dict[str, _Rates] = {}
    at_threshold: _AtThreshold | None = None
    unscaled: dict[str, _Score] = {}
    scaled: dict[str, _Score] = {}
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


class FoldMetrics(BaseModel):
    """The content of a fold's ``metrics.json``."""

    model_config = ConfigDict(frozen=True)

    epochs: list[Epoch] = Field(min_length=1)
    best_epoch: int = Field(ge=0)
    test: dict[str, float | None]
    calibration: dict[str, Calibration] = {}

    @model_validator(mode="after")
    def _require_alike(self) -> FoldMetrics:
        if self.best_epoch >= len(self.epochs):
            raise ValueError(f"epoch {self.best_epoch} is kept, of {len(self.epochs)}")
        if len({(tuple(epoch.val_scores), _num_slots(epoch)) for epoch in self.epochs}) > 1:
            raise ValueError("its epochs do not have the same figures")
        return self


def _num_slots(epoch: Epoch) -> int | None:
    return None if epoch.slots is None else len(epoch.slots.utilisation)


def read_metrics(run: Path) -> RunMetrics:
    """Read the ``metrics.json`` of a run.

    Raises:
        RunError: The file is missing, damaged, or lacks a metric of the run's task.
    """
    return read_model(run / METRICS_FILE, RunError, RunMetrics)


def read_fold_metrics(folder: Path) -> FoldMetrics:
    """Read the ``metrics.json`` of a fold.

    Raises:
        RunError: The file is missing or damaged.
    """
    return read_model(folder / METRICS_FILE, RunError, FoldMetrics)
