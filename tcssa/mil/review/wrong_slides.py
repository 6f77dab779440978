"""Slides whose predicted class is not the true one, the most confident first, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcssa.files import atomic
from tcssa.mil.calibration.calibration import rows_by_target, targets_of
from tcssa.mil.calibration.record import LABEL
from tcssa.mil.tasks.base import MilTask
from tcssa.mil.tasks.prediction import Prediction

WRONG_FILE = "wrong.csv"


@dataclass(frozen=True)
class WrongSlide:
    """One wrong prediction."""

    row: Prediction
    target: str
    """Name of the target, `LABEL` where there is only one."""
    label: str
    """The true class."""
    predicted: str
    probability: float
    """That of the predicted class."""

    @property
    def caption(self) -> str:
        """The text below its picture."""
        target = "" if self.target == LABEL else f"{self.target}: "
        fold = "" if self.row.fold is None else f", fold {self.row.fold}"
        return (
            f"{self.row.slide_id}: {target}{self.predicted} with {self.probability:.3f}, "
            f"is {self.label}{fold}"
        )


def wrong_slides(task: MilTask, predictions: Sequence[Prediction]) -> list[WrongSlide]:
    """Return the wrong predictions, the most confident first; none where labels are no classes.

    Args:
        task: The kind of label.
        predictions: Predictions of test slides.
    """
    rows_of, found = rows_by_target(task, predictions), []
    for name, target in targets_of(task).items():
        classes = target.task.classes
        if not rows_of[name]:
            continue
        decided = target.task.decide(target.task.scored(rows_of[name]).values)
        found += [
            WrongSlide(row, name, classes[row.label], classes[own], row.probs[own])
            for row, own in zip(rows_of[name], decided.tolist(), strict=True)
            if own != row.label
        ]
    return sorted(found, key=lambda wrong: (-wrong.probability, wrong.row.slide_id))


def write_wrong(path: Path, wrong: Sequence[WrongSlide], pictures: Sequence[Path | None]) -> None:
    """Write the table of wrong predictions, atomically.

    Args:
        path: The CSV file.
        wrong: The predictions, one row each.
        pictures: Picture of each of the first ones, in a folder beside the table.
    """
    header = ["slide_id", "case_id", "target", "label", "predicted", "probability", "fold", "map"]
    rows = []
    for index, each in enumerate(wrong):
        picture = pictures[index] if index < len(pictures) else None
        who = [each.row.slide_id, each.row.case_id, each.target]
        what = [each.label, each.predicted, repr(each.probability)]
        where = "" if picture is None else picture.relative_to(path.parent).as_posix()
        rows.append([*who, *what, "" if each.row.fold is None else each.row.fold, where])
    atomic.write_csv(path, header, rows)
