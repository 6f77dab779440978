"""Grades in an order, as CORN learns them.

Shi, Cao and Raschka 2023, Pattern Analysis and Applications 26; arXiv 2111.08851. Of C grades
output j is the logit f_j of going on past grade j once it is reached, j = 0 … C − 2:

    P(y > j) = Π_{i ≤ j} σ(f_i)        P(y = j) = P(y > j − 1) − P(y > j)

so P(y > j) never rises with j, whatever the outputs are. The predicted grade is the number of j
with P(y > j) > ½, which is the median.

Departure: the paper divides the sum of −log σ(±f_j) by the number of its terms, so of a batch's
slides those of high grades weigh more. Ours is divided by the number of slides. It is then the mean
of −log P(y), each slide counts the same in every batch, and the epoch is chosen by the same loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.prediction import Prediction
from tcssa.mil.tasks.sequential_logits import log_stopped
from tcssa.statistics import metrics
from tcssa.statistics.metrics import Floats, Ints, Metric


@dataclass(frozen=True)
class Ordinal(Classes):
    """One of several grades; an output for each step between two of them."""

    kind: ClassVar[str] = "ordinal"
    headline: ClassVar[str] = "weighted_kappa"

    @property
    def outputs(self) -> list[str]:
        """Steps: beyond this grade."""
        return [f"> {name}" for name in self.classes[:-1]]

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """−log of the true grade's probability."""
        return -log_stopped(outputs).gather(1, targets.unsqueeze(1)).squeeze(1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over slides."""
        return self.losses(outputs, targets).mean()

    def values(self, outputs: Tensor) -> tuple[float, ...]:
        """Probabilities of the grades."""
        return tuple(log_stopped(outputs.cpu().double()).exp().tolist())

    def decide(self, values: Floats) -> NDArray[np.int64]:
        """The median grade."""
        beyond = 1 - values.cumsum(axis=1)[:, :-1]
        # P(y > j) never rises with j, so the count is where it falls to a half
        median: NDArray[np.int64] = (beyond > 0.5).sum(axis=1)
        return median

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Those of classes, of the median grade where a grade is named; and how far it is off."""
        return {
            "weighted_kappa": self._decided(metrics.weighted_kappa),
            "mean_error": self._mean_error,
            "balanced_accuracy": self._decided(metrics.balanced_accuracy),
            "macro_f1": self._decided(metrics.macro_f1),
            "accuracy": self._decided(metrics.accuracy),
            "auc": metrics.auc,
            "auprc": metrics.auprc,
            "brier": metrics.brier,
        }

    def _decided(self, metric: Callable[[Ints, Floats], float | None]) -> Metric:
        """A metric of named classes, given the median grades."""

        def of_median(labels: NDArray[Any], probs: Floats) -> float | None:
            return metric(labels, np.eye(probs.shape[1])[self.decide(probs)])

        return of_median

    def _mean_error(self, labels: NDArray[Any], probs: Floats) -> float:
        return float(np.abs(self.decide(probs) - labels).mean())

    def sentence(self) -> str:
        """The grades."""
        return f"grades {', '.join(self.classes)} in this order"

    def draw(
        self, folder: Path, predictions: Sequence[Prediction], scores: Mapping[str, Any]
    ) -> None:
        """Confusion; an ROC of one grade against all others would ask for no order."""
        from tcssa.mil.tasks import plots

        plots.plot_confusion(folder / "confusion.png", scores["confusion"], self.classes)

    @property
    def meanings(self) -> tuple[str, ...]:
        """See `MilTask`."""
        return (
            "Quadratic weighted kappa: agreement beyond chance, an error of two grades counting "
            "four times one of one. 1 is full agreement, 0 is chance.",
            "The predicted grade is the median of the probabilities; AUC, AUPRC and the Brier "
            "score are of the probabilities of single grades.",
        )

    @property
    def captions(self) -> dict[str, str]:
        """See `MilTask`."""
        return {
            "confusion.png": "The slides that were scored, by the median grade: counts, and colour "
            "by the share of the true grade"
        }
