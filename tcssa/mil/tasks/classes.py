"""Classes that exclude each other: softmax and cross-entropy."""

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

from tcssa.mil.tasks.base import Labelled, MilTask, Scored, Stratum
from tcssa.mil.tasks.prediction import Prediction, Truth
from tcssa.statistics.metrics import METRICS, Floats, Metric, count_pairs

_SMALLEST = 1e-12
"""A probability of zero counts as this much in a loss."""


@dataclass(frozen=True)
class Classes(MilTask):
    """Labels that are one of several classes, with one output a class."""

    kind: ClassVar[str] = "classes"
    headline: ClassVar[str] = "auc"

    classes: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    """Weight of a slide of each class in the loss; none: all weigh the same. No part of `facts`."""

    @property
    def label_columns(self) -> list[str]:
        """See `MilTask`."""
        return ["label", "predicted"]

    @property
    def value_columns(self) -> list[str]:
        """Probabilities of the classes."""
        return [f"prob_{name}" for name in self.classes]

    @property
    def outputs(self) -> list[str]:
        """The classes."""
        return list(self.classes)

    @property
    def label_names(self) -> list[str]:
        """The classes."""
        return list(self.classes)

    def label_of(self, truth: Truth) -> int:
        """Return the index of the class."""
        (label,) = truth
        assert label is not None  # a lone label is never unknown
        return int(label)

    def targets(self, slides: Sequence[Labelled]) -> Tensor:
        """Return the classes, [B]."""
        return torch.tensor([slide.label for slide in slides])

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `MilTask.losses`; the loss is the cross-entropy."""
        return self.weigh(F.cross_entropy(outputs, targets, reduction="none"), targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `MilTask.loss`; one call, which rounds differently from a mean of `losses`."""
        if self.weights:
            return super().loss(outputs, targets)
        return F.cross_entropy(outputs, targets)

    def weigh(self, losses: Tensor, targets: Tensor) -> Tensor:
        """Multiply the losses of slides [B] by the weights of their classes [B].

        Args:
            losses: Loss of each slide.
            targets: Class of each slide.
        """
        return losses * losses.new_tensor(self.weights)[targets] if self.weights else losses

    def weighted(self, slides: Sequence[Labelled]) -> Self:
        """See `MilTask.weighted`; the mean weight of the slides is 1, of absent classes it is 0."""
        counts = np.bincount([slide.label for slide in slides], minlength=len(self.classes))
        present = np.count_nonzero(counts)
        weights = [len(slides) / (present * count) if count else 0.0 for count in counts.tolist()]
        return replace(self, weights=tuple(weights))

    def values(self, outputs: Tensor) -> tuple[float, ...]:
        """Compute the probabilities of the classes."""
        return tuple(outputs.cpu().double().softmax(dim=0).tolist())

    def validation_loss(self, predictions: Sequence[Prediction]) -> float:
        """Compute the mean of −log of the true class's probability, weighted as in training."""
        weights = self.weights or (1.0,) * len(self.classes)
        return sum(
            -weights[row.label] * math.log(max(row.probs[row.label], _SMALLEST))
            for row in predictions
        ) / len(predictions)

    def decide(self, values: Floats) -> NDArray[np.int64]:
        """Return the predicted class of each row of probabilities, [S, C] to [S]."""
        predicted: NDArray[np.int64] = values.argmax(axis=1)
        return predicted

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """See `tcssa.statistics.metrics`."""
        return METRICS

    def scored(self, predictions: Sequence[Prediction]) -> Scored:
        """Return arrays with one row a prediction."""
        return Scored(
            np.array([row.label for row in predictions], dtype=np.int64),
            np.array([row.probs for row in predictions], dtype=np.float64),
            [row.case_id for row in predictions],
        )

    def details(self, truth: NDArray[Any], values: Floats) -> dict[str, Any]:
        """See `MilTask.details`; this is the confusion matrix, [true class][predicted]."""
        num_classes = values.shape[1]
        counts = count_pairs(truth, self.decide(values), num_classes, num_classes)
        return {"confusion": counts.tolist()}

    @property
    def decision_columns(self) -> list[str]:
        """The predicted class."""
        return ["predicted"]

    def decision_cells(self, values: Sequence[float]) -> list[object]:
        """Return the name of the predicted class."""
        (predicted,) = self.decide(np.array([values]))
        return [self.classes[predicted]]

    def label_cells(self, prediction: Prediction) -> list[object]:
        """Return the names of the true and of the predicted class."""
        return [self.classes[prediction.label], *self.decision_cells(prediction.probs)]

    def read_truth(self, row: Mapping[str, str]) -> Truth:
        """Read the class; see `MilTask.read_truth`."""
        if row["label"] not in self.classes:
            raise ValueError(f"label {row['label']!r} is none of {', '.join(self.classes)}")
        return (float(self.classes.index(row["label"])),)

    def strata(self, slides: Sequence[Labelled]) -> list[Stratum]:
        """Return one stratum a class, all required: a model cannot learn a class it never sees."""
        labels = np.array([slide.label for slide in slides])
        return [
            Stratum(f"class {name!r}", labels == index) for index, name in enumerate(self.classes)
        ]

    def facts(self) -> dict[str, Any]:
        """See `MilTask.facts`."""
        return {"kind": self.kind, "classes": list(self.classes)}

    def sentence(self) -> str:
        """List the classes."""
        return f"classes {'; '.join(self.classes)}"

    def draw(
        self, folder: Path, predictions: Sequence[Prediction], scores: Mapping[str, Any]
    ) -> None:
        """See `MilTask.draw`; the plots are ROC and confusion matrix."""
        from tcssa.mil.tasks import plots

        rows = self.scored(predictions)
        plots.plot_roc(folder / "roc.png", rows.truth, rows.values, self.classes)
        plots.plot_confusion(folder / "confusion.png", scores["confusion"], self.classes)

    @property
    def meanings(self) -> tuple[str, ...]:
        """See `MilTask`."""
        return (
            "AUC: how often a slide of the class scores above one of another class; with more than "
            "two classes the mean of each against the rest. 0.5 is chance.",
            "Balanced accuracy and macro F1: means over classes, so that a rare class counts as "
            "much as a common one. AUPRC: area under precision and recall; chance is the share of "
            "the class.",
            "Brier score: squared distance of the probabilities from the truth, 0 to 2. "
            "Calibration error: how far probabilities lie from what comes true, over ten bins.",
        )

    @property
    def captions(self) -> dict[str, str]:
        """See `MilTask`."""
        return {
            "roc.png": "ROC of the slides that were scored",
            "confusion.png": "The slides that were scored: counts, and colour by the share of the "
            "true class",
        }
