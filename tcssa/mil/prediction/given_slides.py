"""The slides to predict: their feature files opened, and checked against the model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tcssa.errors import FeatureDimError, FileError, MissingExtraError, TcssaError, UsageError
from tcssa.features import BagRef, open_bag
from tcssa.features.extraction_record import ExtractionRecord
from tcssa.features.folder import by_slide
from tcssa.features.patients import require_file_names
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.prediction.slide_model import GivenSlide, TrainedOn
from tcssa.reporter import Reporter


@dataclass(frozen=True)
class FailedSlide:
    """A slide that could not be predicted."""

    slide_id: str
    path: Path
    reason: str
    hint: str | None = None

    @classmethod
    def of(cls, slide_id: str, path: Path, error: TcssaError) -> FailedSlide:
        """Return the failure that an error is.

        Args:
            slide_id: The slide.
            path: Its file.
            error: What went wrong.
        """
        if isinstance(error, FileError):  # of a patient's files the one that is at fault
            return cls(slide_id, error.path, error.reason, error.hint)
        return cls(slide_id, path, str(error), error.hint)


def open_slides(
    bags: Sequence[BagRef], model: TrainedOn, cases: Mapping[str, str], reporter: Reporter
) -> tuple[list[GivenSlide], list[FailedSlide]]:
    """Open the feature files, and return those of slides that can be predicted, and the others.

    Args:
        bags: The feature files.
        model: What predicts them.
        cases: Patients by slide_id; another slide is a patient of its own.
        reporter: Warned of slides whose encoder is not known.

    Raises:
        UsageError: Two files are of one slide, or features are of another encoder than the model's.
        FeatureDimError: Features are of another length.
    """
    by_slide(bags)
    slides: list[GivenSlide] = []
    failed: list[FailedSlide] = []
    unnamed: list[str] = []
    for ref in bags:
        try:
            given, encoder = open_slide(ref, model, cases)
        except (FeatureDimError, MissingExtraError, UsageError):
            raise
        except TcssaError as error:
            failed.append(FailedSlide.of(ref.slide_id, ref.address, error))
            continue
        if given is None:
            failed.append(FailedSlide(ref.slide_id, ref.address, "holds no patches"))
            continue
        slides.append(given)
        if encoder is None and model.encoder is not None:
            unnamed.append(ref.slide_id)
    if unnamed:
        reporter.warn(
            f"the features of {len(unnamed)} of {len(slides)} slides do not name their encoder; "
            f"they are taken to be of {model.encoder}, as the model's: {', '.join(unnamed[:5])}"
        )
    return slides, failed


def open_slide(
    ref: BagRef, model: TrainedOn, cases: Mapping[str, str]
) -> tuple[GivenSlide | None, str | None]:
    """Open one feature file.

    Args:
        ref: The file.
        model: What is to predict it.
        cases: Patients by slide_id.

    Returns:
        The slide, None if it has no patches, and its encoder.

    Raises:
        FeatureFileError: The file cannot be read.
        UsageError: The features are of another encoder than the model's.
        FeatureDimError: The features are of another length.
    """
    with open_bag(ref) as bag:
        encoder = bag.encoder
        if encoder and model.encoder and encoder != model.encoder:
            raise UsageError(
                f"the model was trained on features of {model.encoder!r}, {bag.path} is of "
                f"{encoder!r}",
                hint=f"extract the slides with --encoder {model.encoder}",
            )
        if bag.num_patches == 0:
            return None, encoder
        if bag.feature_dim != model.feature_dim:
            raise FeatureDimError(bag.path, model.feature_dim, bag.feature_dim)
        slide = CohortSlide(
            ref.slide_id,
            cases.get(ref.slide_id, ref.slide_id),
            0,
            bag.path,
            bag.num_patches,
            has_coords=bag.coords is not None,
            um_per_coord=bag.um_per_coord,
            stored_as=np.dtype(bag.features.dtype).name,
        )
        patch_um = ExtractionRecord.of(bag.attributes).patch_um
        return GivenSlide(slide, (ref,), patch_um), encoder


def joined_by_case(
    given: Sequence[GivenSlide], failed: Sequence[FailedSlide], cases: Mapping[str, str]
) -> tuple[list[GivenSlide], list[FailedSlide]]:
    """Make one bag of all slides of each patient, and return the patients who lack a slide apart.

    Args:
        given: The slides.
        failed: Slides that cannot be predicted.
        cases: Patients by slide_id; another slide is a patient of its own.

    Raises:
        UsageError: A patient's name cannot be that of a file.
    """
    of_case: defaultdict[str, list[GivenSlide]] = defaultdict(list)
    for each in given:
        of_case[each.slide.case_id].append(each)
    require_file_names(of_case)
    broken = {cases.get(each.slide_id, each.slide_id): each for each in failed}
    lacking = [
        FailedSlide(name, slide.path, f"is not predicted without its slide {slide.slide_id}")
        for name, slide in broken.items()
        if name in of_case
    ]
    whole = [GivenSlide.of_case(each) for name, each in of_case.items() if name not in broken]
    return whole, lacking
