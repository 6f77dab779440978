"""Rows of predictions, of slides or of patients, and their tables.

A patient's outputs are the mean of the outputs (logits) of the patient's slides, as an ensemble's
are of its folds; each slide counts the same, whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from tcssa.files import atomic
from tcssa.mil.calibration.calibration import Target, targets_of
from tcssa.mil.calibration.record import LABEL, Calibration, Calibrations
from tcssa.mil.calibration.temperature import scaled
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
    """The cells of rows, as the task computes them from the outputs.

    The predicted class is that of the probabilities as they are, also where scaled ones are shown.
    """

    task: MilTask
    calibrations: Calibrations = field(default_factory=dict)
    """Thresholds and temperatures by target; empty where the model has none."""
    is_scaled: bool = False
    """Whether the probabilities that are shown are scaled by temperature."""
    has_thresholds: bool = True
    """Whether the classes at the thresholds are shown."""

    @property
    def header(self) -> list[str]:
        """The names of `cells`."""
        task, thresholds = self.task, self._thresholds if self.has_thresholds else {}
        decided = [*task.decision_columns, *thresholds, *task.agreement_columns]
        return [*task.value_columns, *decided, "num_patches", UNLIKE_COLUMN]

    @property
    def _thresholds(self) -> dict[str, tuple[Target, Calibration]]:
        """The targets with a threshold, by the name of their column."""
        return {
            "at_threshold" if name == LABEL else f"{name}_at_threshold": (target, one)
            for name, target in targets_of(self.task).items()
            if (one := self.calibrations.get(name)) and one.threshold is not None
        }

    def narrowed(self, rows: Sequence[PredictedRow]) -> Columns:
        """Return the columns as people see them: without classes at thresholds if none differs."""
        return replace(self, has_thresholds=any(map(self.differs, rows)))

    def differs(self, row: PredictedRow) -> bool:
        """Tell whether a class at a threshold is not the predicted one."""
        if not self.has_thresholds:
            return False
        values = np.array(self.values(row.outputs.final))
        predicted = [
            target.task.decision_cells(values[target.part].tolist())[0]
            for target, _ in self._thresholds.values()
        ]
        return predicted != self.at_thresholds(row)

    def readings(self) -> list[str]:
        """Say in sentences how probabilities are shown and read; none without a calibration."""
        found = []
        if self.calibrations:
            how = "scaled by the run's temperature" if self.is_scaled else "not scaled"
            found.append(
                f"Probabilities are {how}; predicted is the most probable class (of grades the "
                "median) of unscaled ones."
            )
        for column, (target, one) in self._thresholds.items():
            name = target.task.classes[1]
            same = "" if self.has_thresholds else ". Here this is the predicted class everywhere"
            found.append(
                f"{column}: {name} from an unscaled probability of {one.threshold:.3f} on "
                f"({one.rule}, on the run's validation slides){same}."
            )
        return found

    def values(self, outputs: Sequence[float]) -> tuple[float, ...]:
        """Return the predicted numbers, such as probabilities, of a model's outputs [O]."""
        return self.task.values(torch.tensor(outputs, dtype=torch.float64))

    def shown(self, row: PredictedRow) -> tuple[float, ...]:
        """Return the predicted numbers as they are shown: scaled, if that is asked for."""
        values = self.values(row.outputs.final)
        return self.scaled(values) if self.is_scaled else values

    def scaled(self, values: Sequence[float]) -> tuple[float, ...]:
        """Return predicted numbers [V], probabilities scaled where there is a temperature."""
        found = np.array(values)
        for name, target in targets_of(self.task).items():
            if one := self.calibrations.get(name):
                found[target.part] = scaled(found[target.part], one.temperature)
        return tuple(found.tolist())

    def decided(self, row: PredictedRow) -> list[object]:
        """Return the predicted class, or what else the task reads off the numbers."""
        return self.task.decision_cells(self.values(row.outputs.final))

    def at_thresholds(self, row: PredictedRow) -> list[object]:
        """Return the class at the threshold, of every target of two classes."""
        if not self.has_thresholds:
            return []
        return list(self.classes_at(self.values(row.outputs.final)).values())

    def classes_at(self, values: Sequence[float]) -> dict[str, str]:
        """Return the class at the threshold by the name of its column, of predicted numbers [V]."""
        row = np.array([values])
        return {
            column: target.task.classes[one.positive(row[:, target.part]).item()]
            for column, (target, one) in self._thresholds.items()
        }

    def agreement(self, row: PredictedRow) -> list[object]:
        """Return how far the folds agree; empty cells where there are none."""
        if not row.outputs.folds:
            return [None] * len(self.task.agreement_columns)
        folds = [self.values(fold) for fold in row.outputs.folds]
        return self.task.agreement_cells(self.values(row.outputs.final), folds)

    def cells(self, row: PredictedRow) -> list[object]:
        """Return the cells of a row, in the order of `header`."""
        values = self.shown(row)
        decided = [*self.decided(row), *self.at_thresholds(row), *self.agreement(row)]
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
