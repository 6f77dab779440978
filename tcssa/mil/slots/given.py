"""The slides to inspect: every fold's test slides, or any others through the final model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tcssa.errors import MissingDataError, RunError
from tcssa.features import find_bags
from tcssa.features.name_matching import matched_names
from tcssa.mil.classifier.final_model import load_final
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.cohort.cohort import Cohort, CohortSlide, listed
from tcssa.mil.cohort.split_files import read_parts
from tcssa.mil.cohort.splits import SPLITS_FILE
from tcssa.mil.evaluation.evaluate import read_own_cohort
from tcssa.mil.prediction.doubts import doubts_about
from tcssa.mil.prediction.given_slides import open_slides
from tcssa.mil.results.finished import FinishedRun
from tcssa.mil.slots.routed import FINAL
from tcssa.reporter import Reporter


@dataclass(frozen=True)
class GivenSlides:
    """Slides by the fold whose model sees them."""

    folds: dict[int, list[CohortSlide]]
    cohort: Cohort | None
    """The run's cohort; None of other slides, whose labels are not known."""


def slides_of(trained: FinishedRun, features: Path | None, reporter: Reporter) -> GivenSlides:
    """Find the slides: the run's own, unless the features that were given do not hold them all.

    Args:
        trained: The run; its settings name the features that were given.
        features: Features that the user gave, if any.
        reporter: Told of the reading that was taken, and of what is left out.

    Raises:
        RunError: The cohort changed, the run has no test slides, or slides that are not its own
            need a final model, and it has none.
        MissingDataError: There are no features, or none can be used.
    """
    own = {name for parts in read_parts(trained.folder / SPLITS_FILE) for name in parts}
    if features is not None:
        names = [ref.slide_id for ref in find_bags([features])]
        there = len(matched_names(own, names))
        if there < len(own):
            reporter.note(
                f"{features} holds {there} of the {len(own)} slides of the run's cohort: its "
                f"{len(names)} slides are seen by the run's final model, as slides without labels"
            )
            return _others(trained, features, reporter)
    cohort = read_own_cohort(trained)
    return GivenSlides(_test_slides(trained.folder, cohort, reporter), cohort)


def _others(trained: FinishedRun, features: Path, reporter: Reporter) -> GivenSlides:
    if not isinstance(load_final(trained), SlideClassifier):
        raise RunError(
            trained.folder,
            "predicts with an ensemble of folds, whose slots are not the same",
            hint="slides that are not its own need a run of --final refit",
        )
    given, failed = open_slides(find_bags([features]), trained, {}, reporter)
    for doubt in doubts_about(trained, given):
        reporter.warn(doubt)
    if failed:
        reporter.warn(f"left out: {listed({each.slide_id: each.reason for each in failed})}")
    if not given:
        raise MissingDataError(f"{features}: no slide can be used", hint="see the warnings")
    return GivenSlides({FINAL: [each.slide for each in given]}, None)


def _test_slides(run: Path, cohort: Cohort, reporter: Reporter) -> dict[int, list[CohortSlide]]:
    """Return the test slides of every fold; warn of folds without any, which are left out."""
    folds = {
        index: [slide for slide in cohort.slides if parts.get(slide.slide_id) == "test"]
        for index, parts in enumerate(read_parts(run / SPLITS_FILE))
    }
    without = [index for index, slides in folds.items() if not slides]
    if without:
        reporter.warn(f"folds without test slides are left out: {without}")
    if len(without) == len(folds):
        raise RunError(run, "has no test slides to look at")
    return {index: slides for index, slides in folds.items() if slides}
