"""Official splits laid over a cohort: whom they name, and what serves as a test part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from tcssa.errors import MissingDataError, SplitError, counted
from tcssa.features.name_matching import by_barcode, matched_names, nearest, shown
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.cohort.split_files import Parts


def parts_of_slides(
    path: Path,
    folds: Sequence[Parts],
    slides: Sequence[CohortSlide],
    *,
    skip_missing: bool,
    tell: Callable[[str], None],
) -> list[Parts]:
    """Say for each slide of the cohort in which part of each fold it is.

    Splits may name slides, or patients, all of whose slides then go to that part. Splits without a
    test part (MCAT's) are tested on their validation part, and validation comes from training.

    Args:
        path: The splits, named in errors.
        folds: Their folds, by the names in them; see `read_parts`.
        slides: The slides of the cohort.
        skip_missing: Whether names that the cohort lacks are passed over.
        tell: Told, in a sentence, which of several readings was taken.

    Raises:
        MissingDataError: Splits name slides that the cohort lacks, or none that it has.
        SplitError: Some names are of slides and others of patients.
    """
    slides_of = _slides_by_name(path, folds, slides, tell)
    names = {name for parts in folds for name in parts}
    _require_known(path, names, slides_of, slides, skip_missing=skip_missing)
    stated = {part for parts in folds for part in parts.values()}
    if "val" in stated and "test" not in stated:
        tell(
            f"{path.name} has no test part: its validation part is tested, and validation is "
            "drawn from its training part (--val-share)"
        )
        folds = [
            {name: "test" if part == "val" else part for name, part in parts.items()}
            for parts in folds
        ]
    return [
        {slide: part for name, part in parts.items() for slide in slides_of.get(name, ())}
        for parts in folds
    ]


def _slides_by_name(
    path: Path,
    folds: Sequence[Parts],
    slides: Sequence[CohortSlide],
    tell: Callable[[str], None],
) -> dict[str, list[str]]:
    """Return the slides that each name stands for.

    Raises:
        SplitError: Some names are of slides alone and others of patients alone.
    """
    names = sorted({name for parts in folds for name in parts})
    of_case: defaultdict[str, list[str]] = defaultdict(list)
    for slide in slides:
        of_case[slide.case_id].append(slide.slide_id)
    matched = matched_names(names, (slide.slide_id for slide in slides))
    patients = [name for name in names if name in of_case]
    if not set(patients) - matched.keys():
        for reading in by_barcode(matched, "slides"):
            tell(f"{path.name}: {reading}")
        return {name: [slide] for name, slide in matched.items()}
    lone = matched.keys() - set(patients)
    if lone:
        raise SplitError(
            f"{path} names slides ({shown(lone)}) and patients "
            f"({shown(set(patients) - matched.keys())})",
            hint="name slides alone, or patients alone",
        )
    found = {name: of_case[name] for name in patients}
    count = counted(sum(map(len, found.values())), "slide")
    tell(f"{path.name} names patients: {counted(len(found), 'patient')} with {count}")
    return found


def _require_known(
    path: Path,
    names: set[str],
    found: dict[str, list[str]],
    slides: Sequence[CohortSlide],
    *,
    skip_missing: bool,
) -> None:
    """Require that the cohort has what splits name, or at least some of it.

    Raises:
        MissingDataError: It lacks them.
    """
    missing = names - found.keys()
    if not missing or (skip_missing and found):
        return
    here = {slide.slide_id for slide in slides}
    if found:
        raise MissingDataError(
            f"{path} names {counted(len(missing), 'slide')} without label or features: "
            f"{shown(missing, 5)}",
            hint="add them, or leave them out with --skip-missing",
        )
    raise MissingDataError(
        f"{path.name} names no slide or patient of the cohort: it has {shown(names)}, the cohort "
        f"{shown(here)}; {nearest(names, here | {slide.case_id for slide in slides})}",
        hint=f"the names do not match: splits name a slide_id or a case_id of the labels; {path}",
    )
