"""The slides to draw: their features, and their own files where these are at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tcssa.features import BagRef, find_bags
from tcssa.features.folder import by_slide
from tcssa.mil.heatmaps.stored_slide import StoredSlide
from tcssa.mil.prediction.given_slides import FailedSlide
from tcssa.mil.prediction.slide_extraction import (
    extract_slides,
    extraction_of,
    extraction_settings,
)
from tcssa.mil.results.finished import FinishedRun
from tcssa.reporter import Reporter
from tcssa.slides.image.places import Places, read_places
from tcssa.slides.manifest import find_slides

JOB_FOLDER = "job"


@dataclass(frozen=True)
class Source:
    """One slide to draw."""

    bag: BagRef
    slide: Path | None
    """The slide's file, None where it is not at hand."""
    read_stored: Callable[[], StoredSlide] | None = None
    """Reads the slide from a file of its slots, which ``bag`` is then; None for features."""

    @property
    def slide_id(self) -> str:
        """The slide's name."""
        return self.bag.slide_id

    def places(self) -> Places | str:
        """Read where the patches lie, or return a short reason why that is not known."""
        if self.read_stored is not None:
            return self.read_stored().places
        return read_places(self.bag.address)


def of_archive(
    files: Sequence[Path], slides: Path | None, read: Callable[[Path], StoredSlide]
) -> list[Source]:
    """Return slides of an encoded archive.

    Args:
        files: The files of slots.
        slides: Folder of the slides' own files, if it is at hand.
        read: Reads such a file.

    Raises:
        UsageError: Two files are of the same slide.
    """
    at_hand = _files_of(slides)
    return [
        Source(ref, at_hand.get(name), partial(read, ref.path))
        for name, ref in by_slide([BagRef(path) for path in files]).items()
    ]


def of_features(features: Sequence[Path | str], slides: Path | None) -> list[Source]:
    """Find slides by their features.

    Args:
        features: Feature files and folders of them.
        slides: Folder of the slides' own files, if it is at hand.

    Raises:
        MissingDataError: A path does not exist, or a folder is empty.
        UsageError: Two files are of the same slide.
    """
    files = _files_of(slides)
    bags = by_slide(find_bags(Path(place) for place in features))
    return [Source(ref, files.get(name)) for name, ref in bags.items()]


def _files_of(slides: Path | None) -> Mapping[str, Path]:
    return {} if slides is None else {each.slide_id: each.path for each in find_slides([slides])}


def of_slides(
    slides: Sequence[str],
    job: Path,
    trained: FinishedRun,
    reporter: Reporter,
    *,
    flags: Mapping[str, Any],
    config: Path | None = None,
) -> tuple[list[Source], list[FailedSlide]]:
    """Extract slides as the run's own features were extracted.

    Args:
        slides: Slide files, folders of slides, or remote addresses.
        job: Job folder of the extraction.
        trained: The run, whose features are the model for what the settings leave open.
        reporter: Told of progress, and warned of what is not as in training.
        flags: Settings of the extraction that the user gave.
        config: A file of such settings.

    Returns:
        The slides that have features, and those that have none.

    Raises:
        UsageError: Neither the run nor the settings say how patches are cut.
        RunError: The encoder is code of a user's choice, and the user did not name it.
    """
    files = find_slides(slides)
    made = extraction_of(trained)
    settings = extraction_settings(
        trained.folder, trained.encoder, made, reporter, flags=flags, config=config
    )
    bags, failed = extract_slides(files, job, settings, reporter)
    paths = {each.slide_id: each.path for each in files}
    # a remote slide was a copy
    at_hand = {name: Path(path) for name, path in paths.items() if Path(path).exists()}
    return [Source(ref, at_hand.get(ref.slide_id)) for ref in bags], failed
