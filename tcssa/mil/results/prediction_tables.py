"""Tables of predictions, one row for each slide."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tcssa.errors import TableError
from tcssa.files import atomic
from tcssa.files.table import read_table
from tcssa.mil.tasks.base import MilTask
from tcssa.mil.tasks.prediction import Prediction


def write_predictions(path: Path, predictions: Sequence[Prediction], task: MilTask) -> None:
    """Write a table of predictions, atomically.

    For classes its columns are ``slide_id, case_id, label, predicted, fold, prob_…``.

    Args:
        path: The CSV file.
        predictions: The predictions, one row each.
        task: The kind of label, which gives the columns of labels and predicted numbers.
    """
    table: list[list[object]] = []
    for row in predictions:
        fold = "" if row.fold is None else row.fold
        who = [row.slide_id, row.case_id]
        table.append([*who, *task.label_cells(row), fold, *task.value_cells(row)])
    header = ["slide_id", "case_id", *task.label_columns, "fold", *task.value_columns]
    atomic.write_csv(path, header, table)


def read_predictions(path: Path, task: MilTask) -> list[Prediction]:
    """Read a table that `write_predictions` wrote.

    Args:
        path: The CSV file.
        task: The kind of label, which gives the columns of labels and predicted numbers.

    Raises:
        TableError: The file cannot be read, lacks a column of the task, or holds an invalid label,
            fold or number; all faults are listed with their line.
    """
    needed = ["slide_id", "case_id", *task.label_columns, "fold", *task.value_columns]
    table = read_table(path, needed=needed, delimiter=",", exact=True)
    predictions, faults = [], []
    for line, row in table.rows.items():
        try:
            predictions.append(_prediction(row, task))
        except ValueError as fault:
            faults.append(f"line {line}: {fault}")
    if faults:
        raise TableError(path, faults, hint="the file is damaged: predict again")
    return predictions


def _prediction(row: Mapping[str, str], task: MilTask) -> Prediction:
    """Read one row; raise a ValueError that says what is wrong with it."""
    for column in ("slide_id", "case_id"):
        if not row[column]:
            raise ValueError(f"the {column} is empty")
    fold = row["fold"]
    if fold and not re.fullmatch("[0-9]{1,6}", fold):
        raise ValueError(f"fold {fold!r} is no number of a fold")
    truth = task.read_truth(row)
    return Prediction(
        slide_id=row["slide_id"],
        case_id=row["case_id"],
        label=task.label_of(truth),
        probs=task.read_values(row),
        fold=int(fold) if fold else None,
        truth=truth,
    )
