"""Numbers on a scale, such as a score or an expression: Huber's loss on standardised labels.

The one output is (value − mean) / SD, with the mean and the SD of the labels of the fold's training
part, so that the learning rate suits every unit. With z the standardised label and d = output − z,

    loss = d² / 2   if |d| ≤ 1        loss = |d| − ½   beyond

so one extreme label does not outweigh the others. Predictions are in the label's own unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tcssa.errors import SplitError
from tcssa.files.table import number
from tcssa.mil.tasks.base import Labelled, MilTask, Scored, Stratum
from tcssa.mil.tasks.prediction import Prediction, Truth
from tcssa.statistics.continuous import CONTINUOUS_METRICS
from tcssa.statistics.metrics import Floats, Metric

_SHARES = (0.25, 0.5, 0.75)
"""Shares of the slides below each cut."""


@dataclass(frozen=True)
class Regression(MilTask):
    """Labels that are a number, with one output."""

    kind: ClassVar[str] = "regression"
    headline: ClassVar[str] = "r2"

    cuts: tuple[float, ...] = ()
    """Where one range of labels ends and the next begins; folds hold the same share of each."""
    mean: float = 0.0
    """Mean of the labels of the training part; 0 before the task is fitted."""
    sd: float = 1.0
    """SD of the labels of the training part; 1 before the task is fitted."""

    @classmethod
    def of_labels(cls, labels: Sequence[float]) -> Self:
        """Return the task of a cohort, with its labels cut at their quartiles."""
        return cls(tuple(np.unique(np.quantile(labels, _SHARES)).tolist()))

    def fitted(self, slides: Sequence[Labelled]) -> Self:
        """Standardise by the labels of the training part.

        Raises:
            SplitError: They are all the same, or their SD cannot be computed.
        """
        labels = _labels(slides)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, sd = float(labels.mean()), float(labels.std())
        if labels.min() == labels.max():
            raise SplitError(
                f"all labels of a training part are {labels[0]:g}",
                hint="use fewer --folds, or another --seed",
            )
        if not 0 < sd < math.inf:
            raise SplitError(
                f"labels from {labels.min():g} to {labels.max():g} are out of the range of numbers",
                hint="give the labels in another unit",
            )
        return replace(self, mean=mean, sd=sd)

    @property
    def outputs(self) -> list[str]:
        """The one number, as a distance from the mean."""
        return ["(label - mean) / SD"]

    @property
    def label_names(self) -> list[str]:
        """The ranges of labels."""
        ends = [f"{cut:g}" for cut in self.cuts]
        begins = ["-∞", *ends]
        return [f"[{a}, {b})" for a, b in zip(begins, [*ends, "∞"], strict=True)]

    def label_of(self, truth: Truth) -> int:
        """Return the number of the range that the label is in."""
        return int(np.searchsorted(self.cuts, _label(truth), side="right"))

    def targets(self, slides: Sequence[Labelled]) -> Tensor:
        """Return the standardised labels, float32, [B]."""
        return torch.tensor(self._standardised(_labels(slides)), dtype=torch.float32)

    def _standardised(self, values: Floats) -> Floats:
        return (values - self.mean) / self.sd

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `MilTask.losses`; the loss is Huber's."""
        return F.huber_loss(outputs.squeeze(1).float(), targets, reduction="none")

    def values(self, outputs: Tensor) -> tuple[float, ...]:
        """Compute the number in the label's unit."""
        return (float(outputs) * self.sd + self.mean,)

    def scale_on(self, other: MilTask) -> tuple[Floats, Floats]:
        """See `MilTask.scale_on`; each fold has a mean and an SD of its own."""
        assert isinstance(other, Regression)
        return np.array([self.sd / other.sd]), np.array([(self.mean - other.mean) / other.sd])

    def validation_loss(self, predictions: Sequence[Prediction]) -> float:
        """Compute the mean of Huber's loss."""
        rows = self.scored(predictions)
        outputs, targets = map(self._standardised, (rows.values[:, 0], rows.truth))
        return float(F.huber_loss(torch.from_numpy(outputs), torch.from_numpy(targets)))

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """See `tcssa.statistics.continuous`."""
        return CONTINUOUS_METRICS

    def scored(self, predictions: Sequence[Prediction]) -> Scored:
        """Return arrays with one row a prediction."""
        return Scored(
            _labels(predictions),
            np.array([row.probs for row in predictions], dtype=np.float64),
            [row.case_id for row in predictions],
        )

    def details(self, truth: NDArray[Any], values: Floats) -> dict[str, Any]:
        """See `MilTask.details`; there are none."""
        return {}

    @property
    def label_columns(self) -> list[str]:
        """See `MilTask`."""
        return ["label"]

    @property
    def value_columns(self) -> list[str]:
        """The predicted number, in the label's unit."""
        return ["predicted"]

    @property
    def decision_columns(self) -> list[str]:
        """None: the predicted number decides nothing more."""
        return []

    def decision_cells(self, values: Sequence[float]) -> list[object]:
        """Return no cells."""
        return []

    @property
    def agreement_columns(self) -> list[str]:
        """The range of the models' numbers."""
        return ["predicted_low", "predicted_high"]

    def agreement_cells(
        self, values: Sequence[float], others: Sequence[Sequence[float]]
    ) -> list[object]:
        """Return the lowest and the highest number of several models; see `MilTask`."""
        numbers = [other[0] for other in others]
        return [min(numbers), max(numbers)]

    def label_cells(self, prediction: Prediction) -> list[object]:
        """Return the label."""
        return [repr(_label(prediction.truth))]

    def read_truth(self, row: Mapping[str, str]) -> Truth:
        """Read the label; see `MilTask.read_truth`."""
        return (read_value("label", row["label"]),)

    def read_values(self, row: Mapping[str, str]) -> tuple[float, ...]:
        """Read the predicted number.

        Raises:
            ValueError: It is no finite number.
        """
        return (read_value("predicted", row["predicted"]),)

    def strata(self, slides: Sequence[Labelled]) -> list[Stratum]:
        """Return the ranges of labels, and all slides, of which every part needs some."""
        ranges = np.array([slide.label for slide in slides])
        everything = Stratum("the cohort", np.ones(len(slides), dtype=bool))
        return [
            everything,
            *(
                Stratum(f"range {name}", ranges == index, required=False)
                for index, name in enumerate(self.label_names)
            ),
        ]

    def facts(self) -> dict[str, Any]:
        """See `MilTask.facts`."""
        return {"kind": self.kind, "cuts": list(self.cuts), "mean": self.mean, "sd": self.sd}

    def sentence(self) -> str:
        """Describe the prediction: a number."""
        return "a number, in the unit of the labels"

    def draw(
        self, folder: Path, predictions: Sequence[Prediction], scores: Mapping[str, Any]
    ) -> None:
        """See `MilTask.draw`; the plot has predicted over true numbers."""
        from tcssa.mil.tasks.plots import plot_scatter

        rows = self.scored(predictions)
        plot_scatter(folder / "scatter.png", rows.truth, rows.values[:, 0], scores["r2"]["value"])

    @property
    def meanings(self) -> tuple[str, ...]:
        """See `MilTask`."""
        return (
            "R²: share of the labels' variance that the predictions explain. 1 is perfect, 0 is no "
            "better than always the mean of these labels, and below 0 is worse.",
            "Pearson r: how close predictions and labels are to one line, whichever it is. "
            "Spearman ρ: the same of their ranks. The mean absolute error is in the labels' unit.",
        )

    @property
    def captions(self) -> dict[str, str]:
        """See `MilTask`."""
        return {"scatter.png": "Predicted against true numbers of slides; on the line they agree"}


def read_value(name: str, cell: str) -> float:
    """Read a finite number.

    Args:
        name: What it is, for the message.
        cell: The cell that holds it.

    Raises:
        ValueError: The cell holds none.
    """
    try:
        value = number(cell)
    except ValueError as fault:
        raise ValueError(f"{name} {fault}") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} {cell} is no finite number")
    return value


def _label(truth: Truth) -> float:
    (label,) = truth
    assert label is not None  # a lone label is never unknown
    return label


def _labels(slides: Sequence[Labelled]) -> Floats:
    return np.array([_label(slide.truth) for slide in slides], dtype=np.float64)
