"""Rows of predictions, of slides or of patients, and their tables.

A patient's outputs are the mean of the outputs (logits) of the patient's slides, as an ensemble's
are of its folds; each slide counts the same, whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tcssa.files import atomic
from tcssa.mil.prediction.slide_model import Outputs
from tcssa.mil.tasks import MilTask

UNLIKE_COLUMN = "unlike_share"


@dataclass(frozen=True)
class PredictedRow:
    """The prediction of one slide, or of one patient."""

    name: str
    """slide_id, or case_id of a patient."""
    case_id: str
    slides: list[str]
    """The slides it is of."""
    num_patches: int
    outputs: Outputs


def by_case(rows: Sequence[PredictedRow]) -> list[PredictedRow]:
    """Return one row a patient, in the order of their first slides."""
    cases: dict[str, list[PredictedRow]] = {}
    for row in rows:
        cases.setdefault(row.case_id, []).append(row)
    return [_joined(case_id, of_case) for case_id, of_case in cases.items()]


def _joined(case_id: str, rows: Sequence[PredictedRow]) -> PredictedRow:
    outputs = [row.outputs for row in rows]
    num_patches = sum(row.num_patches for row in rows)
    shares = [each.unlike for each in outputs]
    unlike = None
    if None not in shares:
        counts = [row.num_patches * (row.outputs.unlike or 0) for row in rows]
        unlike = sum(counts) / num_patches
    folds = np.mean([each.folds for each in outputs], axis=0).tolist()
    final = np.mean([each.final for each in outputs], axis=0).tolist()
    slides = [slide for row in rows for slide in row.slides]
    return PredictedRow(case_id, case_id, slides, num_patches, Outputs(final, folds, unlike))


@dataclass(frozen=True)
class Columns:
    """The cells of rows, as the task computes them from the outputs."""

    task: MilTask

    @property
    def header(self) -> list[str]:
        """The names of `cells`."""
        task = self.task
        decided = [*task.value_columns, *task.decision_columns, *task.agreement_columns]
        return [*decided, "num_patches", UNLIKE_COLUMN]

    def values(self, outputs: Sequence[float]) -> tuple[float, ...]:
        """Return the predicted numbers, such as probabilities, of a model's outputs [O]."""
        return self.task.values(torch.tensor(outputs, dtype=torch.float64))

    def decided(self, row: PredictedRow) -> list[object]:
        """Return the predicted class, or what else the task reads off the numbers."""
        return self.task.decision_cells(self.values(row.outputs.final))

    def agreement(self, row: PredictedRow) -> list[object]:
        """Return how far the folds agree; empty cells where there are none."""
        if not row.outputs.folds:
            return [None] * len(self.task.agreement_columns)
        folds = [self.values(fold) for fold in row.outputs.folds]
        return self.task.agreement_cells(self.values(row.outputs.final), folds)

    def cells(self, row: PredictedRow) -> list[object]:
        """Return the cells of a row, in the order of `header`."""
        values = self.values(row.outputs.final)
        decided = [*self.decided(row), *self.agreement(row)]
        return [*values, *decided, row.num_patches, row.outputs.unlike]


def write_slides(path: Path, rows: Iterable[PredictedRow], columns: Columns) -> None:
    """Write the table of slides, atomically.

    Args:
        path: The CSV file.
        rows: The slides.
        columns: Computes the cells.
    """
    header = ["slide_id", "case_id", *columns.header]
    table = ([row.name, row.case_id, *columns.cells(row)] for row in rows)
    atomic.write_csv(path, header, table)


def write_cases(path: Path, rows: Iterable[PredictedRow], columns: Columns) -> None:
    """Write the table of patients, atomically.

    Args:
        path: The CSV file.
        rows: The patients.
        columns: Computes the cells.
    """
    header = ["case_id", "num_slides", *columns.header]
    table = ([row.name, len(row.slides), *columns.cells(row)] for row in rows)
    atomic.write_csv(path, header, table)
