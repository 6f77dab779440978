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

from tcssa.mil.tasks.base import Labelled, MilTask, Row, Scored, Stratum
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.prediction import Prediction, Truth
from tcssa.statistics.metrics import Floats, Metric

_UNKNOWN = -1


@dataclass(frozen=True)
class Several(MilTask):
    """Several targets side by side, each of classes or grades."""

    kind: ClassVar[str] = "several"

    tasks: Mapping[str, Classes]
    """The task of each target, by the target's name."""

    @property
    def headline(self) -> str:  # type: ignore[override]  # it depends on the targets' kind
        """The headline metric of the targets' kind, averaged over the targets."""
        return self._first.headline

    @property
    def _first(self) -> Classes:
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
        """Return the first target's label; the number of its classes where it is unknown."""
        return len(self._first.classes) if truth[0] is None else int(truth[0])

    def targets(self, slides: Sequence[Labelled]) -> Tensor:
        """Return the labels with one column a target, [B, T]; −1 where it is unknown."""
        rows = [[_UNKNOWN if v is None else int(v) for v in slide.truth] for slide in slides]
        return torch.tensor(rows)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `MilTask.losses`; the mean over the targets that are known for a slide."""
        known = targets != _UNKNOWN
        columns = []
        parts = zip(self.tasks.values(), self._split(outputs), targets.unbind(1), strict=True)
        for task, of_target, labels in parts:
            # an unknown label is replaced by the first class, and its loss by 0
            columns.append(task.losses(of_target, labels.clamp(min=0)))
        losses = torch.where(known, torch.stack(columns, dim=1), 0.0)
        return losses.sum(dim=1) / known.sum(dim=1)

    def _split(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """Split the outputs [..., O] of all targets into those of each."""
        sizes = [len(task.outputs) for task in self.tasks.values()]
        return torch.split(outputs, sizes, dim=-1)

    def weighted(self, slides: Sequence[Labelled]) -> Self:
        """See `MilTask.weighted`; the classes of each target by its own frequencies."""
        views = self.views(slides)
        return replace(
            self, tasks={name: task.weighted(views[name]) for name, task in self.tasks.items()}
        )

    def values(self, outputs: Tensor) -> tuple[float, ...]:
        """Compute the probabilities of all targets, one target after another."""
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
            name: [_viewed(row, index, part) for row in rows if row.truth[index] is not None]
            for index, (name, part) in enumerate(self.parts())
        }

    def parts(self) -> Iterator[tuple[str, slice]]:
        """Yield every target's name, and the slice of its probabilities among all."""
        begin = 0
        for name, task in self.tasks.items():
            yield name, slice(begin, begin + len(task.classes))
            begin += len(task.classes)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The metrics of the targets' kind, averaged over the targets."""
        return {name: self._macro(name) for name in self._first.metrics}

    def _macro(self, metric: str) -> Metric:
        def macro(truth: NDArray[Any], values: Floats) -> float | None:
            scores = []
            for index, (name, part) in enumerate(self.parts()):
                known = ~np.isnan(truth[:, index])
                if not known.any():
                    return None
                labels = truth[known, index].astype(np.int64)
                scores.append(self.tasks[name].metrics[metric](labels, values[known, part]))
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
        """The predicted class of every target, prefixed with its name."""
        return [f"{name}_{c}" for name, task in self.tasks.items() for c in task.decision_columns]

    def decision_cells(self, values: Sequence[float]) -> list[object]:
        """Return the predicted class of every target."""
        return [
            cell
            for name, part in self.parts()
            for cell in self.tasks[name].decision_cells(values[part])
        ]

    @property
    def agreement_columns(self) -> list[str]:
        """The agreement on every target, prefixed with its name."""
        return [f"{name}_agreement" for name in self.tasks]

    def label_cells(self, prediction: Prediction) -> list[object]:
        """Return true and predicted class of every target; an unknown true class is empty."""
        cells: list[object] = []
        for index, (name, part) in enumerate(self.parts()):
            known = prediction.truth[index] is not None
            # the class of an unknown label is never shown
            stated = prediction if known else replace(prediction, truth=(0.0,) * len(self.tasks))
            true, predicted = self.tasks[name].label_cells(_viewed(stated, index, part))
            cells += [true if known else "", predicted]
        return cells

    def read_truth(self, row: Mapping[str, str]) -> Truth:
        """Read one number a target; None where the cell is empty."""
        return tuple(
            task.read_truth({"label": label})[0] if (label := row[f"{name}_label"]) else None
            for name, task in self.tasks.items()
        )

    def strata(self, slides: Sequence[Labelled]) -> list[Stratum]:
        """Return a stratum for each class of every target, and one where the target is unknown."""
        found = []
        for index, (name, task) in enumerate(self.tasks.items()):
            truth = [slide.truth[index] for slide in slides]
            for label, of_class in enumerate(task.classes):
                members = np.array([value == label for value in truth])
                found.append(Stratum(f"class {of_class!r} of target {name}", members))
            unknown = np.array([value is None for value in truth])
            found.append(Stratum(f"{name} unknown", unknown, required=False))
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
        return (
            "Each figure is the mean over the targets; their own follow.",
            *self._first.meanings,
        )

    @property
    def captions(self) -> dict[str, str]:
        """See `MilTask`."""
        return {
            f"{_folder(name)}/{file}": f"{name}: {caption}"
            for name, task in self.tasks.items()
            for file, caption in task.captions.items()
        }


def _viewed(row: Row, index: int, part: slice) -> Row:
    """Return a row as if one target were its only label."""
    value = row.truth[index]
    assert value is not None  # only rows for which the target is known
    only: dict[str, Any] = {"label": int(value), "truth": (value,)}
    if hasattr(row, "probs"):
        only["probs"] = row.probs[part]
    return cast(Row, replace(cast(Any, row), **only))  # all rows are dataclasses


def _folder(name: str) -> str:
    """Turn a target's name into the name of a folder."""
    return re.sub(r"[^\w.-]", "_", name)
