"""Time to an event, censored for some: hazards over spans of time.

The likelihood is that of Zadeh and Schmid (2021, "Bias in cross-entropy-based training of deep
survival networks", IEEE TPAMI 43), which MCAT (Chen et al. 2021, ICCV) brought to slides. Time is
cut into spans at quantiles of the event times of the fold's training part. Output k is the logit of
the hazard h_k = P(event in span k | none before), and

    S_k = Π_{i ≤ k} (1 − h_i)        S_{−1} = 1
    loss = −log(S_{k−1} h_k)         with an event in span k
    loss = −log S_k                  last seen in span k, without one

Each slide has a loss of its own, so the batch size does not matter. Cox's partial likelihood
compares slides with each other; in a batch of eight its risk sets would be nearly empty.

Departure from MCAT's code: events and censored slides weigh the same (its alpha is 0 here).

Metrics are of patients: slides of one patient share a time, so their survival is averaged. The
risk is one minus the mean of S_k over the spans; spans are quantiles, so risks of different folds
have a similar scale.
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

from tcssa.errors import SplitError
from tcssa.files.table import number
from tcssa.mil.tasks.base import Labelled, MilTask, Scored, Stratum
from tcssa.mil.tasks.concordance import concordance, kaplan_meier, log_rank
from tcssa.mil.tasks.prediction import Prediction, Truth
from tcssa.mil.tasks.sequential_logits import log_reached, log_stopped
from tcssa.statistics.metrics import Floats, Metric

_SMALLEST = 1e-12
"""A probability of zero counts as this much in a loss."""


@dataclass(frozen=True)
class Survival(MilTask):
    """Labels that are a time, and whether it ended with the event."""

    kind: ClassVar[str] = "survival"
    headline: ClassVar[str] = "c_index"

    num_spans: int = 4
    edges: tuple[float, ...] = ()
    """Times at which one span ends and the next begins; none before the task is fitted."""

    def fitted(self, slides: Sequence[Labelled]) -> Self:
        """Cut time so that every span holds the same number of events of the training part.

        Raises:
            SplitError: The events of the training part happen at too few different times.
        """
        times = [time for time, event in map(_time_and_event, slides) if event]
        shares = np.arange(1, self.num_spans) / self.num_spans
        edges = np.quantile(times, shares) if times else np.array([])
        cut = np.unique(np.searchsorted(edges, times, side="right"))
        if len(cut) < self.num_spans:
            raise SplitError(
                f"a training part has {len(times)} events at {len(set(times))} different times, "
                f"too few for {self.num_spans} spans",
                hint="use fewer --time-spans, or fewer --folds",
            )
        return replace(self, edges=tuple(edges.tolist()))

    @property
    def outputs(self) -> list[str]:
        """The hazards, one a span of time."""
        ends = [*(f"{edge:g}" for edge in self.edges), "∞"]
        begins = ["0", *ends[:-1]]
        return [f"hazard in [{a}, {b})" for a, b in zip(begins, ends, strict=True)]

    @property
    def label_names(self) -> list[str]:
        """See `label_of`."""
        return ["censored", "event"]

    def label_of(self, truth: Truth) -> int:
        """Return 1 if there was an event, else 0."""
        return int(_checked(truth)[1])

    def targets(self, slides: Sequence[Labelled]) -> Tensor:
        """Return the span and the event of each slide, [B, 2]."""
        truths = [_time_and_event(slide) for slide in slides]
        spans = np.searchsorted(self.edges, [time for time, _ in truths], side="right")
        return torch.tensor([[int(k), int(e)] for k, (_, e) in zip(spans, truths, strict=True)])

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `MilTask.losses`; the loss is the negative log-likelihood."""
        span, event = targets[:, :1], targets[:, 1] == 1
        happened = log_stopped(-outputs).gather(1, span).squeeze(1)
        survived = log_reached(-outputs).gather(1, span + 1).squeeze(1)
        return -torch.where(event, happened, survived)

    def values(self, outputs: Tensor) -> tuple[float, ...]:
        """Compute the probabilities S_k of surviving each span."""
        return tuple(log_reached(-outputs.cpu().double())[1:].exp().tolist())

    def validation_loss(self, predictions: Sequence[Prediction]) -> float:
        """Compute the mean negative log-likelihood."""
        total = 0.0
        for row, (span, event) in zip(predictions, self.targets(predictions).tolist(), strict=True):
            surviving = (1.0, *row.probs)
            chance = surviving[span] - surviving[span + 1] if event else surviving[span + 1]
            total -= math.log(max(chance, _SMALLEST))
        return total / len(predictions)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Harrell's c-index."""
        return {"c_index": _c_index}

    def scored(self, predictions: Sequence[Prediction]) -> Scored:
        """Return one row a patient: (time, event), and S_k averaged over slides and folds."""
        by_case: dict[str, list[Prediction]] = {}
        for row in predictions:
            by_case.setdefault(row.case_id, []).append(row)
        groups = by_case.values()
        return Scored(
            np.array([_time_and_event(rows[0]) for rows in groups], dtype=np.float64),
            np.array([np.mean([row.probs for row in rows], axis=0) for rows in groups]),
            list(by_case),
        )

    def details(self, truth: NDArray[Any], values: Floats) -> dict[str, Any]:
        """See `MilTask.details`; counts of events and of high-risk patients, and a log-rank test.

        The test compares the patients above the median risk with the others.
        """
        times, events, high = _halves(truth, values)
        return {
            "num_events": int(events.sum()),
            "num_high_risk": int(high.sum()),
            "log_rank_p": log_rank(times, events, high),
        }

    @property
    def label_columns(self) -> list[str]:
        """See `MilTask`."""
        return ["time", "event", "risk"]

    @property
    def value_columns(self) -> list[str]:
        """The columns of S_k; the spans differ between folds and are kept in their checkpoints."""
        return [f"survival_{k + 1}" for k in range(self.num_spans)]

    @property
    def decision_columns(self) -> list[str]:
        """The risk."""
        return ["risk"]

    def decision_cells(self, values: Sequence[float]) -> list[object]:
        """Return the risk."""
        return [_risk_of(values)]

    @property
    def agreement_columns(self) -> list[str]:
        """The range of the models' risks."""
        return ["risk_low", "risk_high"]

    def agreement_cells(
        self, values: Sequence[float], others: Sequence[Sequence[float]]
    ) -> list[object]:
        """Return the lowest and the highest risk of several models; see `MilTask`."""
        risks = [_risk_of(other) for other in others]
        return [min(risks), max(risks)]

    def label_cells(self, prediction: Prediction) -> list[object]:
        """Return time, event and risk."""
        time, event = _time_and_event(prediction)
        return [repr(time), int(event), *self.decision_cells(prediction.probs)]

    def read_truth(self, row: Mapping[str, str]) -> Truth:
        """Read time and event; see `MilTask.read_truth`."""
        time = number(row["time"])
        if not (math.isfinite(time) and time >= 0):
            raise ValueError(f"time {row['time']} is no time since the start, which is 0 or more")
        if row["event"] not in ("0", "1"):
            raise ValueError(f"event {row['event']!r} is neither 1 (it happened) nor 0 (censored)")
        return time, float(row["event"])

    def strata(self, slides: Sequence[Labelled]) -> list[Stratum]:
        """Return the slides with an event, of which every part needs some, and the censored."""
        events = np.array([slide.label == 1 for slide in slides], dtype=bool)
        return [Stratum("event", events), Stratum("censored", ~events, required=False)]

    def facts(self) -> dict[str, Any]:
        """See `MilTask.facts`."""
        return {"kind": self.kind, "num_spans": self.num_spans, "edges": list(self.edges)}

    def sentence(self) -> str:
        """Describe the prediction: the time to an event, in spans."""
        return f"time to an event, in {self.num_spans} spans; figures are of patients"

    def draw(
        self, folder: Path, predictions: Sequence[Prediction], scores: Mapping[str, Any]
    ) -> None:
        """See `MilTask.draw`; the plot has the Kaplan–Meier curves of the two halves.

        The halves are the patients above the median risk and the others.
        """
        from tcssa.mil.tasks.plots import plot_survival

        rows = self.scored(predictions)
        times, events, high = _halves(rows.truth, rows.values)
        groups = {"risk above the median": high, "others": ~high}
        curves = {
            f"{name} ({group.sum()})": kaplan_meier(times[group], events[group])
            for name, group in groups.items()
            if group.any()
        }
        plot_survival(folder / "survival.png", curves, scores["log_rank_p"])

    @property
    def meanings(self) -> tuple[str, ...]:
        """See `MilTask`."""
        return (
            "c-index: of two patients of whom one had the event while the other was still seen "
            "without it, how often that one has the higher risk. 0.5 is chance. Pooled, it also "
            "compares patients of different folds.",
            "The log-rank test parts the patients at their own median risk.",
        )

    @property
    def captions(self) -> dict[str, str]:
        """See `MilTask`."""
        return {"survival.png": "Kaplan–Meier curves of the patients, parted at their median risk"}


def _checked(truth: Truth) -> tuple[float, bool]:
    time, event = truth
    assert time is not None  # the reader rejects a label with only one of the two
    return time, event == 1


def _time_and_event(slide: Labelled) -> tuple[float, bool]:
    return _checked(slide.truth)


def _risk(surviving: Floats) -> Floats:
    """Compute the risk, one minus the mean survival over the spans, [S, K] to [S]."""
    risk: Floats = 1 - surviving.mean(axis=1)
    return risk


def _risk_of(surviving: Sequence[float]) -> float:
    return float(_risk(np.array([surviving]))[0])


def _halves(
    truth: NDArray[Any], values: Floats
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the times, the events, and which patients are above the median risk."""
    risk = _risk(values)
    return truth[:, 0], truth[:, 1] == 1, risk > np.median(risk)


def _c_index(truth: NDArray[Any], values: Floats) -> float | None:
    return concordance(truth[:, 0], truth[:, 1] == 1, _risk(values))
