"""Several labels of a slide at once: one model, with outputs for every target.

A target may be unknown for a slide. A slide's loss is the mean over its known targets, and the loss
of a batch is the mean over its slides, however many targets are known for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcssa.errors import SplitError
from tcssa.mil.tasks.base import Labelled, MilTask, Row, Scored, Stratum
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.prediction import Prediction, Truth
from tcssa.mil.tasks.regression import Regression
from tcssa.statistics.metrics import Floats, Metric

OneNumber = Classes | Regression
"""Kinds of label that can be a target: those whose label is one number."""

MEAN_HEADLINE = "mean_headline"
"""The figure of targets of several kinds, which have no other in common."""

_IN_THE_LABELS_UNIT = "mean_absolute_error"
"""A metric whose mean over targets of several units would mean nothing."""


@dataclass(frozen=True)
class Several(MilTask):
    """Several targets side by side, each of classes, grades or numbers."""

    kind: ClassVar[str] = "several"

    tasks: Mapping[str, OneNumber]
    """The task of each target, by the target's name."""

    @property
    def headline(self) -> str:  # type: ignore[override]  # it depends on the targets' kind
        """The headline metric of the targets' kind, or of each one's own, averaged over them."""
        return self._first.headline if self._is_of_one_kind else MEAN_HEADLINE

    @property
    def _is_of_one_kind(self) -> bool:
        return len({task.kind for task in self.tasks.values()}) == 1

    @property
    def _first(self) -> OneNumber:
        return next(iter(self.tasks.values()))

    @property
    def outputs(self) -> list[str]:
        """The outputs of all targets, one target after another."""
        return [f"{name}: {out}" for name, task in self.tasks.items() for out in task.outputs]

    @property
    def label_names(self) -> list[str]:
        """The names of the first target's labels, and ``unknown``."""
        return [*self._first.label_names, "unknown"]

    def label_of(self, truth: Truth) -> int:
        """Return the first target's label; the number of its names where it is unknown."""
        first = self._first
        return len(first.label_names) if truth[0] is None else first.label_of(truth[:1])

    def fitted(self, slides: Sequence[Labelled]) -> Self:
        """See `MilTask.fitted`; each target on the slides where it is known."""
        views, tasks = self.views(slides), {}
        for name, task in self.tasks.items():
            try:
                tasks[name] = task.fitted(views[name])
            except SplitError as fault:
                raise SplitError(f"target {name}: {fault}", hint=fault.hint) from None
        return replace(self, tasks=tasks)

    def scale_on(self, other: MilTask) -> tuple[Floats, Floats]:
        """See `MilTask.scale_on`; each target's outputs by their own factor and shift."""
        assert isinstance(other, Several)
        scales = [task.scale_on(other.tasks[name]) for name, task in self.tasks.items()]
        factors, shifts = zip(*scales, strict=True)
        return np.concatenate(factors), np.concatenate(shifts)

    def targets(self, slides: Sequence[Labelled]) -> Tensor:
        """Return each target's own labels, float32, [B, T]; NaN where it is unknown."""
        found = torch.full((len(slides), len(self.tasks)), torch.nan)
        views = self.views(slides)
        for index, (name, task) in enumerate(self.tasks.items()):
            known = torch.tensor([slide.truth[index] is not None for slide in slides])
            found[known, index] = task.targets(views[name]).float()
        return found

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `MilTask.losses`; the mean over the targets that are known for a slide."""
        known = ~targets.isnan()
        columns = []
        parts = zip(self.tasks.values(), self._split(outputs), targets.unbind(1), strict=True)
        for task, of_target, labels in parts:
            stated = labels.nan_to_num()  # an unknown label is replaced by 0, and its loss too
            columns.append(
                task.losses(of_target, stated.long() if isinstance(task, Classes) else stated)
            )
        losses = torch.where(known, torch.stack(columns, dim=1), 0.0)
        return losses.sum(dim=1) / known.sum(dim=1)

    def _split(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """Split the outputs [..., O] of all targets into those of each."""
        sizes = [len(task.outputs) for task in self.tasks.values()]
        return torch.split(outputs, sizes, dim=-1)

    def weighted(self, slides: Sequence[Labelled]) -> Self:
        """See `MilTask.weighted`; the classes of each target by its own frequencies."""
        if not any(isinstance(task, Classes) for task in self.tasks.values()):
            self._first.weighted(slides)  # refuses it
        views = self.views(slides)
        tasks = {
            name: task.weighted(views[name]) if isinstance(task, Classes) else task
            for name, task in self.tasks.items()
        }
        return replace(self, tasks=tasks)

    def values(self, outputs: Tensor) -> tuple[float, ...]:
        """Compute the predicted numbers of all targets, one target after another."""
        parts = zip(self.tasks.values(), self._split(outputs), strict=True)
        return tuple(value for task, part in parts for value in task.values(part))

    def validation_loss(self, predictions: Sequence[Prediction]) -> float:
        """Compute the mean over slides of the mean over their known targets."""
        total = 0.0
        for row in predictions:
            own = [
                self.tasks[name].validation_loss(rows)
                for name, rows in self.views([row]).items()
                if rows
            ]
            total += sum(own) / len(own)
        return total / len(predictions)

    def views(self, rows: Sequence[Row]) -> dict[str, list[Row]]:
        """Return for each target the rows where it is known, as if it were their only label."""
        return {
            name: [
                _viewed(row, index, self.tasks[name], part)
                for row in rows
                if row.truth[index] is not None
            ]
            for index, (name, part) in enumerate(self.parts())
        }

    def parts(self) -> Iterator[tuple[str, slice]]:
        """Yield every target's name, and the slice of its predicted numbers among all."""
        begin = 0
        for name, task in self.tasks.items():
            end = begin + len(task.value_columns)
            yield name, slice(begin, end)
            begin = end

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The metrics that the targets have in common, averaged over the targets."""
        if not self._is_of_one_kind:
            return {MEAN_HEADLINE: self._macro(None)}
        names = [name for name in self._first.metrics if name != _IN_THE_LABELS_UNIT]
        return {name: self._macro(name) for name in names}

    def _macro(self, metric: str | None) -> Metric:
        """Return the mean of a metric over the targets; None takes each one's own headline."""

        def macro(truth: NDArray[Any], values: Floats) -> float | None:
            scores = []
            for index, (name, part) in enumerate(self.parts()):
                known = ~np.isnan(truth[:, index])
                if not known.any():
                    return None
                task, labels = self.tasks[name], truth[known, index]
                stated = labels.astype(np.int64) if isinstance(task, Classes) else labels
                of_target = task.metrics[metric or task.headline]
                scores.append(of_target(stated, values[known, part]))
            known_scores = [score for score in scores if score is not None]
            # a mean over some of the targets would be a different metric
            return float(np.mean(known_scores)) if len(known_scores) == len(scores) else None

        return macro

    def scored(self, predictions: Sequence[Prediction]) -> Scored:
        """Return arrays with one row a prediction and one column a target; NaN where unknown."""
        return Scored(
            np.array([row.truth for row in predictions], dtype=np.float64),  # None becomes NaN
            np.array([row.probs for row in predictions], dtype=np.float64),
            [row.case_id for row in predictions],
        )

    def details(self, truth: NDArray[Any], values: Floats) -> dict[str, Any]:
        """See `MilTask.details`; there are none over all targets, see `score`."""
        return {}

    def score(self, predictions: Sequence[Prediction], *, seed: int = 0) -> dict[str, Any]:
        """Compute the means over targets, and under ``targets`` each target's own figures.

        Args:
            predictions: Predictions of test slides.
            seed: Seed of the bootstrap.
        """
        scores = super().score(predictions, seed=seed)
        views = self.views(predictions)
        scores["targets"] = {
            name: task.score(views[name], seed=seed) if views[name] else None
            for name, task in self.tasks.items()
        }
        return scores

    @property
    def label_columns(self) -> list[str]:
        """The label columns of every target, prefixed with its name."""
        return [f"{name}_{c}" for name, task in self.tasks.items() for c in task.label_columns]

    @property
    def value_columns(self) -> list[str]:
        """The value columns of every target, prefixed with its name."""
        return [f"{name}_{c}" for name, task in self.tasks.items() for c in task.value_columns]

    @property
    def decision_columns(self) -> list[str]:
        """The decisions on every target, prefixed with its name."""
        return [f"{name}_{c}" for name, task in self.tasks.items() for c in task.decision_columns]

    def decision_cells(self, values: Sequence[float]) -> list[object]:
        """Return the decisions on every target."""
        return [
            cell
            for name, part in self.parts()
            for cell in self.tasks[name].decision_cells(values[part])
        ]

    @property
    def agreement_columns(self) -> list[str]:
        """The agreement on every target, prefixed with its name."""
        return [f"{name}_{c}" for name, task in self.tasks.items() for c in task.agreement_columns]

    def agreement_cells(
        self, values: Sequence[float], others: Sequence[Sequence[float]]
    ) -> list[object]:
        """Return the agreement on every target; see `MilTask`."""
        return [
            cell
            for name, part in self.parts()
            for cell in self.tasks[name].agreement_cells(
                values[part], [other[part] for other in others]
            )
        ]

    def label_cells(self, prediction: Prediction) -> list[object]:
        """Return the label of every target, empty where unknown, and what is predicted."""
        cells: list[object] = []
        for index, (name, part) in enumerate(self.parts()):
            known = prediction.truth[index] is not None
            # what stands for an unknown label is never shown
            stated = prediction if known else replace(prediction, truth=(0.0,) * len(self.tasks))
            task = self.tasks[name]
            true, *decided = task.label_cells(_viewed(stated, index, task, part))
            cells += [true if known else "", *decided]
        return cells

    def read_truth(self, row: Mapping[str, str]) -> Truth:
        """Read one number a target; None where the cell is empty."""
        return tuple(
            task.read_truth({"label": label})[0] if (label := row[f"{name}_label"]) else None
            for name, task in self.tasks.items()
        )

    def read_values(self, row: Mapping[str, str]) -> tuple[float, ...]:
        """Read the predicted numbers of every target; see `MilTask.read_values`."""
        return tuple(
            value
            for name, task in self.tasks.items()
            for value in task.read_values({c: row[f"{name}_{c}"] for c in task.value_columns})
        )

    def strata(self, slides: Sequence[Labelled]) -> list[Stratum]:
        """Return the strata of every target, and one where the target is unknown."""
        found = []
        for index, (name, rows) in enumerate(self.views(slides).items()):
            known = np.array([slide.truth[index] is not None for slide in slides])
            for own in self.tasks[name].strata(rows):
                members = np.zeros(len(slides), dtype=bool)
                members[known] = own.members
                found.append(replace(own, name=f"{own.name} of target {name}", members=members))
            found.append(Stratum(f"{name} unknown", ~known, required=False))
        return found

    def facts(self) -> dict[str, Any]:
        """See `MilTask.facts`."""
        return {
            "kind": self.kind,
            "targets": {name: task.facts() for name, task in self.tasks.items()},
        }

    def sentence(self) -> str:
        """List the targets, each with its labels."""
        targets = (f"{name} ({task.sentence()})" for name, task in self.tasks.items())
        return f"targets {'; '.join(targets)}"

    def draw(
        self, folder: Path, predictions: Sequence[Prediction], scores: Mapping[str, Any]
    ) -> None:
        """See `MilTask.draw`; each target's plots go to a folder of its own."""
        for name, rows in self.views(predictions).items():
            if rows:
                self.tasks[name].draw(folder / _folder(name), rows, scores["targets"][name])

    @property
    def meanings(self) -> tuple[str, ...]:
        """See `MilTask`."""
        own = dict.fromkeys(line for task in self.tasks.values() for line in task.meanings)
        if self._is_of_one_kind:
            return ("Each figure is the mean over the targets; their own follow.", *own)
        return (
            "The figure of all targets is the mean of each one's own: AUC of classes, kappa of "
            "grades, R² of numbers. These have no scale in common, so it only ranks trainings of "
            "the same targets.",
            *own,
        )

    @property
    def captions(self) -> dict[str, str]:
        """See `MilTask`."""
        return {
            f"{_folder(name)}/{file}": f"{name}: {caption}"
            for name, task in self.tasks.items()
            for file, caption in task.captions.items()
        }


def _viewed(row: Row, index: int, task: OneNumber, part: slice) -> Row:
    """Return a row as if one target were its only label."""
    value = row.truth[index]
    assert value is not None  # only rows for which the target is known
    only: dict[str, Any] = {"label": task.label_of((value,)), "truth": (value,)}
    if hasattr(row, "probs"):
        only["probs"] = row.probs[part]
    return cast(Row, replace(cast(Any, row), **only))  # all rows are dataclasses


def _folder(name: str) -> str:
    """Turn a target's name into the name of a folder."""
    return re.sub(r"[^\w.-]", "_", name)
