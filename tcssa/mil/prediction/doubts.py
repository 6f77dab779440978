"""What is doubtful about slides that a run is to predict."""

from __future__ import annotations

from collections.abc import Sequence

from tcssa.errors import TcssaError, counted
from tcssa.features import BagRef, open_bag
from tcssa.features.extraction_record import ExtractionRecord
from tcssa.features.tables import patient_of
from tcssa.mil.cohort.split_files import read_parts
from tcssa.mil.cohort.splits import read_split_cases
from tcssa.mil.results.finished import FinishedRun
from tcssa.mil.training.train import SPLITS_FILE
from tcssa.reporter import Reporter

_NAMED = 5
_LARGEST_DIFFERENCE = 0.1
"""Of the widths of two patches; 448 level-0 pixels for 482, as TRIDENT rounds them, are less."""


def warn_of_doubts(run: FinishedRun, bags: Sequence[BagRef], reporter: Reporter) -> None:
    """Warn of slides that the run was trained on, and of patches of another width than its own.

    Args:
        run: The run.
        bags: The slides' feature files; one that cannot be read is named elsewhere.
        reporter: Receives the warnings.
    """
    path = run.folder / SPLITS_FILE
    slides = {name for parts in read_parts(path) for name in parts}
    cases = read_split_cases(path)
    known = [b for b in bags if b.slide_id in slides or patient_of(b.slide_id) in cases]
    if known:
        reporter.warn(
            f"{len(known)} of {counted(len(bags), 'slide')} are of patients that the run was "
            f"trained on, so this is no test: {_listed(known)}"
        )
    own = _width(run.extraction)
    if own is None:
        return
    others = []
    for ref in bags:
        try:
            with open_bag(ref) as bag:
                width = _width(ExtractionRecord.of(bag.attributes))
        except TcssaError:
            continue
        if width is not None and abs(width / own - 1) > _LARGEST_DIFFERENCE:
            others.append(ref)
    if others:
        reporter.warn(
            f"the run was trained on patches {own:g} µm wide, and those of {len(others)} of "
            f"{counted(len(bags), 'slide')} are of another width, so predictions may be wrong: "
            f"{_listed(others)}; give the slides themselves, or features of the run's own grid"
        )


def _width(made: ExtractionRecord) -> float | None:
    """Return the width of a patch in µm, None where it is not known."""
    if made.mpp is None or made.patch_size is None:
        return None
    return made.mpp * made.patch_size


def _listed(bags: Sequence[BagRef]) -> str:
    more = f" and {len(bags) - _NAMED} more" if len(bags) > _NAMED else ""
    return ", ".join(bag.slide_id for bag in bags[:_NAMED]) + more
