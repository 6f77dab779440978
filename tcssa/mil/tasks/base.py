"""What every kind of label can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tcssa.files.table import numbers
from tcssa.mil.tasks.prediction import Prediction, Truth
from tcssa.statistics.metrics import Floats, Metric, score_all

_ROUNDING = 1e-9
"""By how much a probability may leave 0 to 1, as a mean over models can."""


class Labelled(Protocol):
    """A slide of a cohort, or a prediction of it."""

    @property
    def label(self) -> int:
        """The class; of other kinds see `MilTask.label_of`."""

    @property
    def truth(self) -> Truth:
        """The whole label."""


Row = TypeVar("Row", bound=Labelled)


@dataclass(frozen=True)
class Stratum:
    """Slides of which every part of a division should hold its share."""

    name: str
    """As messages say it."""
    members: NDArray[np.bool_]
    """Which of the slides belong to it, [S]."""
    required: bool = True
    """Whether a part for training or validation is of no use without any."""


@dataclass(frozen=True)
class Scored:
    """Predictions as arrays; one row a slide, or whatever the figures are of."""

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
        """What each output of a method stands for."""

    @property
    @abstractmethod
    def label_names(self) -> list[str]:
        """What the numbers of `label_of` are called."""

    @abstractmethod
    def label_of(self, truth: Truth) -> int:
        """The one number that stands for a label where one is wanted.

        That is for balanced sampling, for looking up sites, and in ``splits.csv``.
        """

    @abstractmethod
    def targets(self, slides: Sequence[Labelled]) -> Tensor:
        """Labels of a batch as `losses` takes them, int64, [B] or [B, …]."""

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each slide, [B].

        Args:
            outputs: Of a method, [B, O].
            targets: See `targets`.
        """

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, the mean over its slides, 0-dim."""
        return self.losses(outputs, targets).mean()

    @abstractmethod
    def values(self, outputs: Tensor) -> tuple[float, ...]:
        """From one slide's outputs [O] to the numbers that are predicted, [V]."""

    @abstractmethod
    def validation_loss(self, predictions: Sequence[Prediction]) -> float:
        """The mean loss of predictions; the epoch is chosen by it."""

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Metric]:
        """Figures of truth and values; see `Scored`."""

    @abstractmethod
    def scored(self, predictions: Sequence[Prediction]) -> Scored:
        """Predictions as arrays."""

    @abstractmethod
    def details(self, truth: NDArray[Any], values: Floats) -> dict[str, Any]:
        """What there is to say beside the metrics, as plain data."""

    def point_scores(self, predictions: Sequence[Prediction]) -> dict[str, float | None]:
        """All metrics of one fold, without intervals: a fold is too small to have any."""
        rows = self.scored(predictions)
        return {name: metric(rows.truth, rows.values) for name, metric in self.metrics.items()}

    def headline_score(self, predictions: Sequence[Prediction]) -> float | None:
        """The one metric that stands for the others, without an interval."""
        rows = self.scored(predictions)
        return self.metrics[self.headline](rows.truth, rows.values)

    def score(self, predictions: Sequence[Prediction], *, seed: int = 0) -> dict[str, Any]:
        """All metrics with intervals, and the details.

        A slide that several folds tested has as many predictions, and counts as one slide.

        Args:
            predictions: Of test slides.
            seed: Of the bootstrap.
        """
        rows = self.scored(predictions)
        scores = score_all(
            rows.truth,
            rows.values,
            rows.cases,
            metrics=self.metrics,
            details=self.details,
            seed=seed,
        )
        num_slides = len({row.slide_id for row in predictions})
        return {**scores, "num_slides": num_slides, "num_predictions": len(predictions)}

    @property
    @abstractmethod
    def label_columns(self) -> list[str]:
        """Of a table of predictions: what is true, and what a slide was taken for."""

    @property
    @abstractmethod
    def value_columns(self) -> list[str]:
        """Of a table of predictions: the numbers that a model predicted."""

    @abstractmethod
    def label_cells(self, prediction: Prediction) -> list[object]:
        """A prediction under `label_columns`."""

    def value_cells(self, prediction: Prediction) -> list[object]:
        """A prediction under `value_columns`."""
        return [repr(value) for value in prediction.probs]  # repr comes back bit for bit

    @abstractmethod
    def read_truth(self, row: Mapping[str, str]) -> Truth:
        """The label in a row of a table of predictions.

        Raises:
            ValueError: It is none that the task knows.
        """

    def read_values(self, row: Mapping[str, str]) -> tuple[float, ...]:
        """The predicted numbers in a row of a table of predictions; all are probabilities.

        Raises:
            ValueError: One is no number from 0 to 1.
        """
        values = numbers([row[column] for column in self.value_columns])
        for column, value in zip(self.value_columns, values, strict=True):
            if not -_ROUNDING <= value <= 1 + _ROUNDING:
                raise ValueError(f"{column} is {value}, no probability")
        return tuple(values)

    @abstractmethod
    def strata(self, slides: Sequence[Labelled]) -> list[Stratum]:
        """By what a division of these slides is balanced."""

    def fitted(self, slides: Sequence[Labelled]) -> Self:
        """The task as a fold learns it, from that fold's training part alone.

        Raises:
            SplitError: The training part does not do for it.
        """
        return self

    def views(self, rows: Sequence[Row]) -> dict[str, list[Row]]:
        """Slides or predictions as each target sees them, by its name; one nameless target here."""
        return {"": list(rows)}

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Everything that `task_from_facts` needs, as plain data."""

    @abstractmethod
    def sentence(self) -> str:
        """What the labels are, as a report says it."""

    @abstractmethod
    def draw(
        self, folder: Path, predictions: Sequence[Prediction], scores: Mapping[str, Any]
    ) -> None:
        """Draw the plots that `captions` names.

        Args:
            folder: Where to.
            predictions: Of test slides.
            scores: Of them; see `score`.
        """

    @property
    def meanings(self) -> tuple[str, ...]:
        """What the metrics mean, in sentences for a report."""
        return ()

    @property
    @abstractmethod
    def captions(self) -> dict[str, str]:
        """File names of the plots, and what each shows."""
