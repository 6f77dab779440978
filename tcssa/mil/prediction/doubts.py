"""Doubts about slides that a run is to predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tcssa.errors import counted
from tcssa.features.patch_widths import other_width
from tcssa.features.tables import patient_of
from tcssa.mil.cohort.split_files import read_parts
from tcssa.mil.cohort.splits import SPLITS_FILE, read_split_cases
from tcssa.mil.prediction.slide_model import GivenSlide
from tcssa.mil.results.finished import FinishedRun

_NAMED = 5
_MOST = 0.5
"""Share of patches unlike those of training: slides of the same kind have at most a tenth of it."""


def doubts_about(run: FinishedRun, slides: Sequence[GivenSlide]) -> list[str]:
    """Name slides that a run was trained on, and those of patches of another width than its own.

    Args:
        run: The run.
        slides: The slides, opened.

    Returns:
        A sentence for each of the two that there are, and one where the first cannot be known,
        because the run was shared without the names of its slides.
    """
    trained_on, cases = _known(run)
    names = [given.slide.slide_id for given in slides]
    of_all = counted(len(names), "slide")
    found = []
    if run.is_published:
        found.append(
            "the run was shared without the names of its slides, so whether it was trained on any "
            "of these is not checked; if it was, this is no test"
        )
    if known := [name for name in names if name in trained_on or patient_of(name) in cases]:
        found.append(
            f"{len(known)} of {of_all} are of patients that the run was trained on, so this is no "
            f"test: {_listed(known)}"
        )
    widths = {each.slide.slide_id: each.patch_um for each in slides}
    if other := other_width(run.extraction.patch_um, widths):
        found.append(other)
    return found


def unlike_training(shares: Mapping[str, float | None]) -> str | None:
    """Name slides most of whose patches are unlike those of training.

    Args:
        shares: Share of such patches by slide_id, None where it is not known.

    Returns:
        A sentence; None where there is no such slide.
    """
    unlike = [name for name, share in shares.items() if share is not None and share > _MOST]
    if not unlike:
        return None
    return (
        f"most patches of {len(unlike)} of {counted(len(shares), 'slide')} are unlike those of "
        f"training, so predictions may be wrong: {_listed(unlike)}"
    )


def _known(run: FinishedRun) -> tuple[set[str], set[str]]:
    """Return the slides and the patients of a run; none of one that was shared without them."""
    if run.is_published:
        return set(), set()
    path = run.folder / SPLITS_FILE
    return {name for parts in read_parts(path) for name in parts}, read_split_cases(path)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
