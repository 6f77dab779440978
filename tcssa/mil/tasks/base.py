"""The interface of every kind of label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tcssa.errors import UsageError
from tcssa.files.table import numbers
from tcssa.mil.tasks.prediction import Prediction, Truth
from tcssa.statistics.intervals import interval
from tcssa.statistics.metrics import Floats, Metric, bootstrap, resampled

_ROUNDING = 1e-9
"""Tolerance by which a probability may leave 0 to 1, as a mean over models can."""


class Labelled(Protocol):
    """A slide of a cohort, or a prediction of it."""

    @property
    def label(self) -> int:
        """The class; for other kinds of label see `MilTask.label_of`."""

    @property
    def truth(self) -> Truth:
        """The whole label."""


Row = TypeVar("Row", bound=Labelled)


@dataclass(frozen=True)
class Stratum:
    """Slides of which every part of a split should hold its share."""

    name: str
    """Its name in messages."""
    members: NDArray[np.bool_]
    """Whether each slide belongs to it, [S]."""
    required: bool = True
    """Whether a part for training or validation needs at least one of them."""


@dataclass(frozen=True)
class Scored:
    """Predictions as arrays; one row a slide, or a patient where metrics are of patients."""

    truth: NDArray[Any]
    """[S] or [S, …], as the task's metrics take it."""
    values: Floats
    """[S, V]."""
    cases: list[str]
    """The patient of each row."""


class MilTask(ABC):
    """A kind of label, with the names that belong to it."""

    kind: ClassVar[str]
    headline: ClassVar[str]
    """The metric that stands for the others."""

    @property
    @abstractmethod
    def outputs(self) -> list[str]:
        """The meaning of each output of a method."""

    @property
    @abstractmethod
    def label_names(self) -> list[str]:
        """The names of the numbers that `label_of` returns."""

    @abstractmethod
    def label_of(self, truth: Truth) -> int:
        """Return the one number that stands for a label where one is needed.

        That is for balanced sampling, for looking up sites, and in ``splits.csv``.
        """

    @abstractmethod
    def targets(self, slides: Sequence[Labelled]) -> Tensor:
        """Return the labels of a batch as `losses` takes them, [B] or [B, …]."""

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of each slide, [B].

        Args:
            outputs: Outputs of a method, [B, O].
            targets: Labels of the batch; see `targets`.
        """

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of a batch, the mean over its slides, 0-dim.

        Args:
            outputs: Outputs of a method, [B, O].
            targets: Labels of the batch; see `targets`.
        """
        return self.losses(outputs, targets).mean()

    @abstractmethod
    def values(self, outputs: Tensor) -> tuple[float, ...]:
        """Turn one slide's outputs [O] into the numbers that are predicted, [V]."""

    def weighted(self, slides: Sequence[Labelled]) -> Self:
        """Return the task with a loss in which all classes weigh the same.

        Args:
            slides: The training part, whose frequencies are balanced.

        Raises:
            UsageError: The labels are not of classes.
        """
        raise UsageError(
            f"--class-weights has no meaning with --kind {self.kind}: it has no classes",
            hint="leave it out",
        )

    def scale_on(self, other: MilTask) -> tuple[Floats, Floats]:
        """Return the factors and the shifts [O] that turn this task's outputs into another fold's.

        Args:
            other: A task of the same kind and labels, fitted on another training part.
        """
        return np.ones(len(self.outputs)), np.zeros(len(self.outputs))

    @abstractmethod
    def validation_loss(self, predictions: Sequence[Prediction]) -> float:
        """Compute the mean loss of predictions, by which the epoch is chosen."""

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Metric]:
        """The metrics by name, each a function of truth and values; see `Scored`."""

    @abstractmethod
    def scored(self, predictions: Sequence[Prediction]) -> Scored:
        """Turn predictions into arrays."""

    @abstractmethod
    def details(self, truth: NDArray[Any], values: Floats) -> dict[str, Any]:
        """Return what is reported beside the metrics, as plain data.

        Args:
            truth: True labels, as in `Scored`.
            values: Predicted numbers, as in `Scored`.
        """

    def point_scores(self, predictions: Sequence[Prediction]) -> dict[str, float | None]:
        """Compute all metrics of one fold, without intervals: a fold is too small for them."""
        rows = self.scored(predictions)
        return {name: metric(rows.truth, rows.values) for name, metric in self.metrics.items()}

    def headline_score(self, predictions: Sequence[Prediction]) -> float | None:
        """Compute the headline metric, without an interval."""
        rows = self.scored(predictions)
        return self.metrics[self.headline](rows.truth, rows.values)

    def score(self, predictions: Sequence[Prediction], *, seed: int = 0) -> dict[str, Any]:
        """Compute all metrics with intervals, and the details.

        The bootstrap draws patients with replacement, all slides of a patient together, since
        slides of one patient are not independent. A slide that several folds tested has a
        prediction of each, but is one of ``num_slides``.

        Args:
            predictions: Predictions of test slides.
            seed: Seed of the bootstrap.

        Returns:
            ``{metric: Score}``, the details, ``num_slides``, ``num_cases``, ``num_predictions``.
        """
        rows = self.scored(predictions)
        samples = resampled(rows.cases, seed)
        scores = {
            name: interval(
                metric(rows.truth, rows.values),
                bootstrap(metric, rows.truth, rows.values, samples),
            )
            for name, metric in self.metrics.items()
        }
        return {
            **scores,
            **self.details(rows.truth, rows.values),
            "num_slides": len({row.slide_id for row in predictions}),
            "num_cases": len(set(rows.cases)),
            "num_predictions": len(predictions),
        }

    @property
    @abstractmethod
    def label_columns(self) -> list[str]:
        """The columns of the true and the predicted label in a table of predictions."""

    @property
    @abstractmethod
    def value_columns(self) -> list[str]:
        """The columns of the predicted numbers in a table of predictions."""

    @property
    @abstractmethod
    def decision_columns(self) -> list[str]:
        """The columns of what is read off the predicted numbers, such as the predicted class."""

    @abstractmethod
    def decision_cells(self, values: Sequence[float]) -> list[object]:
        """Return the cells for `decision_columns`, of the predicted numbers [V] of one slide."""

    @property
    def agreement_columns(self) -> list[str]:
        """The columns that say how far several models agree; see `agreement_cells`."""
        return [name.replace("predicted", "agreement") for name in self.decision_columns]

    def agreement_cells(
        self, values: Sequence[float], others: Sequence[Sequence[float]]
    ) -> list[object]:
        """Return the cells for `agreement_columns`: the share of models that decide alike.

        Args:
            values: The predicted numbers [V] of one slide.
            others: The same of other models, at least of one.
        """
        decided = self.decision_cells(values)
        votes = zip(*map(self.decision_cells, others), strict=True)
        return [
            sum(vote == own for vote in of_column) / len(others)
            for own, of_column in zip(decided, votes, strict=True)
        ]

    @abstractmethod
    def label_cells(self, prediction: Prediction) -> list[object]:
        """Return a prediction's cells for `label_columns`."""

    def value_cells(self, prediction: Prediction) -> list[object]:
        """Return a prediction's cells for `value_columns`."""
        return [repr(value) for value in prediction.probs]  # repr comes back bit for bit

    @abstractmethod
    def read_truth(self, row: Mapping[str, str]) -> Truth:
        """Read the label from a row of a table of predictions.

        Raises:
            ValueError: The label is not one that the task knows.
        """

    def read_values(self, row: Mapping[str, str]) -> tuple[float, ...]:
        """Read the predicted numbers, all probabilities, from a row of a table of predictions.

        Raises:
            ValueError: A value is not a number from 0 to 1.
        """
        values = numbers([row[column] for column in self.value_columns])
        for column, value in zip(self.value_columns, values, strict=True):
            if not -_ROUNDING <= value <= 1 + _ROUNDING:
                raise ValueError(f"{column} is {value}, no probability")
        return tuple(values)

    @abstractmethod
    def strata(self, slides: Sequence[Labelled]) -> list[Stratum]:
        """Return the strata by which a split of these slides is balanced."""

    def fitted(self, slides: Sequence[Labelled]) -> Self:
        """Return the task as a fold learns it, from that fold's training part alone.

        Raises:
            SplitError: The training part does not suffice to fit the task.
        """
        return self

    def views(self, rows: Sequence[Row]) -> dict[str, list[Row]]:
        """Return slides or predictions as each target sees them, by the target's name.

        Here there is one target without a name.
        """
        return {"": list(rows)}

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return everything that `task_from_facts` needs, as plain data."""

    @abstractmethod
    def sentence(self) -> str:
        """Describe the labels for a report."""

    @abstractmethod
    def draw(
        self, folder: Path, predictions: Sequence[Prediction], scores: Mapping[str, Any]
    ) -> None:
        """Draw the plots that `captions` names.

        Args:
            folder: Folder of the plots.
            predictions: Predictions of test slides.
            scores: Their scores; see `score`.
        """

    @property
    def meanings(self) -> tuple[str, ...]:
        """Explanations of the metrics, in sentences for a report."""
        return ()

    @property
    @abstractmethod
    def captions(self) -> dict[str, str]:
        """The file names of the plots, and what each shows."""
