"""Predictions: one row a slide, and the CSV they live in."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcssa import atomic
from tcssa.mil.tasks import MilTask, Truth


@dataclass(frozen=True)
class Prediction:
    """What one slide was taken for."""

    slide_id: str
    case_id: str
    label: int
    """The class; of other kinds see `MilTask.label_of`."""
    probs: tuple[float, ...]
    """Of the classes; of other kinds see `MilTask.values`."""
    fold: int | None = None
    """The fold whose model predicted; None for an ensemble of folds."""
    truth: Truth = ()
    """The whole label."""


def write_predictions(path: Path, predictions: Sequence[Prediction], task: MilTask) -> None:
    """Write a table, atomically: of classes ``slide_id, case_id, label, predicted, fold, prob_…``.

    Args:
        path: The CSV file.
        predictions: Its rows.
        task: Says which columns labels and predicted numbers take.
    """
    table: list[list[object]] = []
    for row in predictions:
        fold = "" if row.fold is None else row.fold
        who = [row.slide_id, row.case_id]
        table.append([*who, *task.label_cells(row), fold, *task.value_cells(row)])
    header = ["slide_id", "case_id", *task.label_columns, "fold", *task.value_columns]
    atomic.write_csv(path, header, table)


def read_predictions(path: Path, task: MilTask) -> list[Prediction]:
    """Read what `write_predictions` wrote."""
    predictions = []
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            truth = task.read_truth(row)
            predictions.append(
                Prediction(
                    slide_id=row["slide_id"],
                    case_id=row["case_id"],
                    label=task.label_of(truth),
                    probs=task.read_values(row),
                    fold=int(row["fold"]) if row["fold"] else None,
                    truth=truth,
                )
            )
    return predictions
