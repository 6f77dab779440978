"""Folds without leaks: no patient is in two parts of a fold.

Every fold has a validation part, on which the epoch is chosen, and a test part, which is used
once. Folds are drawn, or read from official splits (`tcssa.mil.cohort.split_files`); a leak in
either is an error that names the patients.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tcssa.errors import RunError, SplitError, TableError, counted
from tcssa.files import atomic
from tcssa.files.table import read_table
from tcssa.files.text import read_text
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.cohort.divider import Divider
from tcssa.mil.cohort.official_splits import parts_of_slides
from tcssa.mil.cohort.split_files import PARTS, Parts, read_parts
from tcssa.mil.settings import SplitSettings
from tcssa.mil.tasks import MilTask
from tcssa.mil.tasks.reading import numeric_classes

SPLITS_FILE = "splits.csv"
"""File in a run directory: each slide's part in every fold."""


@dataclass(frozen=True)
class Fold:
    """One division of a cohort; the parts share no patient."""

    train: list[CohortSlide]
    val: list[CohortSlide]
    """The slides on which the model and the epoch are chosen."""
    test: list[CohortSlide]
    """The slides on which nothing is chosen; they are predicted once."""


def make_folds(
    slides: Sequence[CohortSlide],
    task: MilTask,
    num_folds: int,
    seed: int,
    settings: SplitSettings | None = None,
    *,
    skip_missing: bool = False,
    tell: Callable[[str], None] | None = None,
) -> list[Fold]:
    """Divide a cohort as the settings say, by default into stratified folds by patient.

    Of k folds, fold i tests on part i, validates on part i + 1 and trains on the rest.

    Args:
        slides: The slides of the cohort.
        task: The kind of label, by which folds are stratified.
        num_folds: Number of folds of a cross-validation, or of draws of monte-carlo.
        seed: Seed of the draws.
        settings: How to divide; the defaults if None.
        skip_missing: Skip slides of official splits that the cohort lacks.
        tell: Told, in a sentence, how official splits were read where there are several ways.

    Raises:
        SplitError: A class has too few patients, a part lacks a class or does not suit the task,
            or a patient is in two parts of a given split.
        MissingDataError: Official splits name slides that the cohort lacks.
        TableError: The official splits cannot be read.
    """
    settings = settings or SplitSettings()
    tell = tell or (lambda reading: None)
    divider = Divider(_groups(slides, settings), task)
    if settings.files is not None:
        parts = parts_of_slides(
            settings.files,
            read_parts(settings.files),
            slides,
            skip_missing=skip_missing,
            tell=tell,
        )
        folds = [_given(slides, each, divider, settings, seed, tell) for each in parts]
    else:
        _require_groups(slides, divider, num_folds, settings)
        folds = []
        if settings.scheme == "monte-carlo":
            for index in range(num_folds):
                folds.append(_drawn(slides, divider, settings, seed + index))
        else:
            for repeat in range(settings.repeats):
                folds += _k_folds(slides, divider, num_folds, seed + repeat)
    for fold in folds:
        require_disjoint(fold)
        _require_strata(fold, task)
        task.fitted(fold.train)
    return folds


def _groups(slides: Sequence[CohortSlide], settings: SplitSettings) -> dict[str, str]:
    """Return the group of each slide that is never divided: its patient, or its patient's site.

    Raises:
        SplitError: Groups are sites, and the site of some slides is not known.
    """
    if settings.group_by == "patient":
        return {slide.slide_id: slide.case_id for slide in slides}
    unknown = [slide.slide_id for slide in slides if slide.site is None]
    if unknown:
        raise SplitError(
            f"the site of {counted(len(unknown), 'slide')} is not known: {', '.join(unknown[:5])}",
            hint="add a column site to the label table, or --group-by patient",
        )
    # all slides of a patient seen at two sites count for the first site
    site_of: dict[str, str] = {}
    for slide in slides:
        site_of.setdefault(slide.case_id, str(slide.site))
    return {slide.slide_id: site_of[slide.case_id] for slide in slides}


def _k_folds(
    slides: Sequence[CohortSlide], divider: Divider, num_folds: int, seed: int
) -> list[Fold]:
    parts = divider.divide(slides, num_folds, seed)
    folds = []
    for i, test in enumerate(parts):
        val = parts[(i + 1) % num_folds]
        folds.append(Fold(_without(slides, [*test, *val]), val, test))
    return folds


def _drawn(
    slides: Sequence[CohortSlide], divider: Divider, settings: SplitSettings, seed: int
) -> Fold:
    """Draw one fold: test, validation and training parts."""
    test = divider.divide(slides, _parts_for(settings.test_share), seed)[0]
    rest = _without(slides, test)
    val = _validation(rest, divider, settings.val_share / (1 - settings.test_share), seed)
    return Fold(_without(rest, val), val, test)


def _given(
    slides: Sequence[CohortSlide],
    parts: Mapping[str, str],
    divider: Divider,
    settings: SplitSettings,
    seed: int,
    tell: Callable[[str], None],
) -> Fold:
    """Make an official fold; without a validation part it gets one from its training part.

    Raises:
        SplitError: No slide is for training.
    """
    train, val, test = (
        [slide for slide in slides if parts.get(slide.slide_id) == part] for part in PARTS
    )
    if not train:
        raise SplitError(
            f"{settings.files}: a fold has no training slide that the cohort has",
            hint="give splits whose training slides have labels and features",
        )
    if not val:
        share = max(settings.val_share, 1 / max(2, divider.least(train)))
        if share > settings.val_share:
            tell(f"validation takes {share:.0%} of a training part, for some of every class")
        val = _validation(train, divider, share, seed)
        train = _without(train, val)
    return Fold(train, val, test)


def _validation(
    slides: Sequence[CohortSlide], divider: Divider, share: float, seed: int
) -> list[CohortSlide]:
    return divider.divide(slides, _parts_for(share), seed)[0]


def _parts_for(share: float) -> int:
    """Return the number of equal parts of which one is about this share."""
    return max(2, round(1 / share))


def _without(slides: Sequence[CohortSlide], held_out: Sequence[CohortSlide]) -> list[CohortSlide]:
    names = {slide.slide_id for slide in held_out}
    return [slide for slide in slides if slide.slide_id not in names]


def unused_slides(slides: Sequence[CohortSlide], folds: Sequence[Fold]) -> list[str]:
    """List the slides that are in no fold, since official splits may leave some out.

    Args:
        slides: The slides of the cohort.
        folds: The folds.

    Returns:
        The slide_id of each, sorted.
    """
    used = {s.slide_id for fold in folds for part in PARTS for s in getattr(fold, part)}
    return sorted(slide.slide_id for slide in slides if slide.slide_id not in used)


def write_splits(
    path: Path, slides: Sequence[CohortSlide], folds: Sequence[Fold], classes: Sequence[str]
) -> None:
    """Write each slide's part in every fold; a table that exists already must be the same.

    The form is one that ``--splits`` reads, so another run can use the same folds.

    Args:
        path: The CSV file.
        slides: The slides of the cohort, one row each.
        folds: The folds, one column each.
        classes: Names of the labels.

    Raises:
        RunError: The table exists already, and its folds differ from these.
    """
    parts: list[Parts] = [
        {slide.slide_id: part for part in PARTS for slide in getattr(fold, part)} for fold in folds
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["slide_id", "case_id", "label", *(f"fold_{i}" for i in range(len(folds)))])
    for slide in slides:
        row = [part.get(slide.slide_id, "") for part in parts]
        writer.writerow([slide.slide_id, slide.case_id, classes[slide.label], *row])
    if path.exists() and read_text(path, RunError).replace("\r\n", "\n") != text.getvalue():
        raise RunError(
            path,
            "the folds of this run's first start were others",
            hint="give another --out; another version of scikit-learn may split otherwise",
        )
    atomic.write_text(path, text.getvalue())


def read_split_cases(path: Path) -> set[str]:
    """Read the patients of a run from its ``splits.csv``.

    Raises:
        TableError: The table is damaged.
    """
    table = read_table(path, needed=["case_id"], delimiter=",", exact=True)
    faults = [
        f"line {n}: the case_id is empty" for n, row in table.rows.items() if not row["case_id"]
    ]
    if faults:
        raise TableError(path, faults)
    return {row["case_id"] for row in table.rows.values()}


def require_disjoint(fold: Fold) -> None:
    """Check that no patient is in two parts of a fold.

    Raises:
        SplitError: Two parts share patients; they are named.
    """
    sides = {part: {slide.case_id for slide in getattr(fold, part)} for part in PARTS}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = sorted(sides[one] & sides[other])
        if shared:
            raise SplitError(
                f"{counted(len(shared), 'patient')} in both {one} and {other}: "
                f"{', '.join(shared[:5])}"
                f"{' …' if len(shared) > 5 else ''}",
                hint="a leak: figures on this test part would be too good; mend the splits",
            )


_FEW = "add some, or leave the class out: name the others with --class, and give --skip-missing"


def _require_groups(
    slides: Sequence[CohortSlide], divider: Divider, num_folds: int, settings: SplitSettings
) -> None:
    least = num_folds if settings.scheme == "kfold" else _parts_for(settings.test_share)
    for stratum in divider.task.strata(slides):
        count = divider.count(slides, stratum)
        if stratum.required and count < least:
            raise SplitError(
                f"{stratum.name} has {count} {settings.group_by}{'' if count == 1 else 's'}, "
                f"{num_folds} folds need at least {least}",
                hint="; ".join([*numeric_classes(divider.task), _FEW])
                + (", or use fewer --folds (at least 3)" if num_folds > 3 else ""),
            )


def _require_strata(fold: Fold, task: MilTask) -> None:
    for part_name, part in (("training", fold.train), ("validation", fold.val)):
        missing = [s.name for s in task.strata(part) if s.required and not s.members.any()]
        if missing:
            raise SplitError(
                f"a {part_name} part has no slide of {', '.join(missing)}",
                hint="use fewer --folds, or another --seed",
            )
    if not fold.test:
        raise SplitError("a test part is empty", hint="give splits that test something")
