"""Folds without leaks: a patient is never on two sides of a split."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcssa import atomic
from tcssa.errors import RunError, SplitError
from tcssa.features.tables import read_rows
from tcssa.mil.cohort import CohortSlide


@dataclass(frozen=True)
class Fold:
    """One division of a cohort; the parts share no patient."""

    train: list[CohortSlide]
    val: list[CohortSlide]
    """The model and the epoch are chosen on these."""
    test: list[CohortSlide]
    """Nothing is chosen on these; they are looked at once."""


def make_folds(
    slides: Sequence[CohortSlide], classes: Sequence[str], num_folds: int, seed: int
) -> list[Fold]:
    """Stratified cross-validation by patient.

    Fold i tests on part i, validates on part i + 1 and trains on the rest, so that every slide
    is tested exactly once.

    Raises:
        SplitError: A class has fewer patients than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    _require_patients(slides, classes, num_folds)
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    labels = [slide.label for slide in slides]
    cases = [slide.case_id for slide in slides]
    parts = [[slides[i] for i in test] for _, test in splitter.split(labels, labels, cases)]
    folds = []
    for i, test in enumerate(parts):
        val = parts[(i + 1) % num_folds]
        held_out = {slide.slide_id for slide in [*test, *val]}
        train = [slide for slide in slides if slide.slide_id not in held_out]
        folds.append(Fold(train, val, test))
    for fold in folds:
        require_disjoint(fold)
        _require_classes(fold, classes)
    return folds


def write_splits(path: Path, folds: Sequence[Fold], classes: Sequence[str]) -> None:
    """Write which fold tests each slide; a table that stands already must say the same.

    Raises:
        RunError: The table of an earlier start says otherwise.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["slide_id", "case_id", "label", "test_fold"])
    for index, fold in enumerate(folds):
        for slide in fold.test:
            writer.writerow([slide.slide_id, slide.case_id, classes[slide.label], index])
    if path.exists() and path.read_text(encoding="utf-8") != text.getvalue():
        raise RunError(
            path,
            "the folds of this run's first start were others",
            hint="give another --out; another version of scikit-learn may split otherwise",
        )
    atomic.write_text(path, text.getvalue())


def read_splits(path: Path) -> dict[str, int]:
    """The fold that tests each slide, by slide_id."""
    return {row["slide_id"]: int(row["test_fold"]) for row in read_rows(path)}


def read_split_cases(path: Path) -> set[str]:
    """All patients of a run."""
    return {row["case_id"] for row in read_rows(path)}


def require_disjoint(fold: Fold) -> None:
    """Check that no patient stands on two sides.

    Raises:
        SplitError: One does; it is named.
    """
    sides = {
        name: {slide.case_id for slide in part}
        for name, part in (("train", fold.train), ("val", fold.val), ("test", fold.test))
    }
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = sorted(sides[one] & sides[other])
        if shared:
            raise SplitError(
                f"{len(shared)} patients stand in both {one} and {other}: {', '.join(shared[:5])}"
            )


def _require_patients(
    slides: Sequence[CohortSlide], classes: Sequence[str], num_folds: int
) -> None:
    patients: dict[int, set[str]] = defaultdict(set)
    for slide in slides:
        patients[slide.label].add(slide.case_id)
    for index, name in enumerate(classes):
        count = len(patients[index])
        if count < num_folds:
            raise SplitError(
                f"class {name!r} has {count} patient{'' if count == 1 else 's'}, "
                f"{num_folds} folds need at least {num_folds}",
                hint="add patients, merge or drop the class, or use fewer --folds (at least 3)",
            )


def _require_classes(fold: Fold, classes: Sequence[str]) -> None:
    for part_name, part in (("training", fold.train), ("validation", fold.val)):
        missing = set(range(len(classes))) - {slide.label for slide in part}
        if missing:
            names = ", ".join(repr(classes[index]) for index in sorted(missing))
            raise SplitError(
                f"a {part_name} part has no slide of class {names}",
                hint="use fewer --folds, or another --seed",
            )
