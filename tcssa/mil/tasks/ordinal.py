"""Grades in an order, learned with CORN.

Shi, Cao and Raschka 2023, Pattern Analysis and Applications 26; arXiv 2111.08851. With C grades,
output j is the logit f_j of going on past grade j once it is reached, j = 0 … C − 2:

    P(y > j) = Π_{i ≤ j} σ(f_i)        P(y = j) = P(y > j − 1) − P(y > j)

so P(y > j) never rises with j, whatever the outputs are. The predicted grade is the number of j
with P(y > j) > ½, which is the median.

Departure: the paper divides the sum of −log σ(±f_j) by the number of its terms, so slides of high
grades weigh more in a batch. Here it is divided by the number of slides. It is then the mean of
−log P(y), each slide counts the same in every batch, and the epoch is chosen by the same loss.
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
    """Labels that are one of several grades, with one output for each step between two grades."""

    kind: ClassVar[str] = "ordinal"
    headline: ClassVar[str] = "weighted_kappa"

    @property
    def outputs(self) -> list[str]:
        """The steps, each beyond a grade."""
        return [f"> {name}" for name in self.classes[:-1]]

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `MilTask.losses`; the loss is −log of the true grade's probability."""
        losses = -log_stopped(outputs).gather(1, targets.unsqueeze(1)).squeeze(1)
        return self.weigh(losses, targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `MilTask.loss`; the mean over slides."""
        return self.losses(outputs, targets).mean()

    def values(self, outputs: Tensor) -> tuple[float, ...]:
        """Compute the probabilities of the grades."""
        return tuple(log_stopped(outputs.cpu().double()).exp().tolist())

    def decide(self, values: Floats) -> NDArray[np.int64]:
        """Return the median grade of each row of probabilities, [S, C] to [S]."""
        beyond = 1 - values.cumsum(axis=1)[:, :-1]
        # P(y > j) never rises with j, so the count is where it falls to a half
        median: NDArray[np.int64] = (beyond > 0.5).sum(axis=1)
        return median

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The metrics of classes, with the median grade as the class, and the mean error."""
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
        """Return a metric that is given the median grades as one-hot probabilities."""

        def of_median(labels: NDArray[Any], probs: Floats) -> float | None:
            return metric(labels, np.eye(probs.shape[1])[self.decide(probs)])

        return of_median

    def _mean_error(self, labels: NDArray[Any], probs: Floats) -> float:
        return float(np.abs(self.decide(probs) - labels).mean())

    def sentence(self) -> str:
        """List the grades in their order."""
        return f"grades {', '.join(self.classes)} in this order"

    def draw(
        self, folder: Path, predictions: Sequence[Prediction], scores: Mapping[str, Any]
    ) -> None:
        """See `MilTask.draw`; the plot is the confusion matrix.

        An ROC of one grade against all others would ignore the order.
        """
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
