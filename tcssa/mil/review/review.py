"""The review of a test: its wrong predictions, and pictures of the most confident ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcssa.mil.calibration.calibration import targets_of
from tcssa.mil.calibration.record import LABEL
from tcssa.mil.review.pictures import Pictures
from tcssa.mil.review.wrong_slides import WRONG_FILE, WrongSlide, write_wrong, wrong_slides
from tcssa.mil.tasks.base import MilTask
from tcssa.mil.tasks.prediction import Prediction

PICTURES_FOLDER = "wrong"
MOST_SHOWN = 12
"""Wrong slides on a page."""


@dataclass(frozen=True)
class Review:
    """The wrong predictions as a page shows them."""

    wrong: list[WrongSlide]
    shown: list[Path | None]
    """Pictures of the first of them; None where there is none."""
    are_alone: bool
    """Whether the pictures show no evidence; see `Pictures`."""
    of_several: list[str]
    """Patients of several slides among the first, which have no picture."""

    @property
    def header(self) -> list[str]:
        """The columns of `rows`."""
        return ["slide", "is", "predicted", "probability", *(["of"] if self._several else [])]

    @property
    def rows(self) -> list[list[str]]:
        """The first of them as rows of a table."""
        return [
            [one.row.slide_id, one.label, one.predicted, f"{one.probability:.3f}"]
            + ([one.target] if self._several else [])
            for one in self.wrong[: len(self.shown)]
        ]

    @property
    def pictures(self) -> list[tuple[Path, str]]:
        """The pictures with their captions."""
        pairs = zip(self.shown, self.wrong, strict=False)
        return [(path, one.caption) for path, one in pairs if path is not None]

    @property
    def without(self) -> list[str]:
        """The other ones among the first that have no picture."""
        pairs = zip(self.shown, self.wrong, strict=False)
        names = [one.row.slide_id for path, one in pairs if path is None]
        return [name for name in names if name not in self.of_several]

    @property
    def _several(self) -> bool:
        return any(one.target != LABEL for one in self.wrong)


def review(
    folder: Path, task: MilTask, predictions: Sequence[Prediction], pictures: Pictures
) -> Review | None:
    """Write ``wrong.csv`` with pictures of the first slides; None where labels are no classes.

    Args:
        folder: Folder of the table; the pictures lie below it.
        task: The kind of label.
        predictions: Predictions of test slides.
        pictures: Draws slides.
    """
    if not targets_of(task):
        return None
    wrong = wrong_slides(task, predictions)
    shown = pictures.draw(wrong[:MOST_SHOWN])
    write_wrong(folder / WRONG_FILE, wrong, shown)
    return Review(wrong, shown, pictures.are_alone, pictures.of_several)
