"""The slides to draw: their features, and their own files where these are at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcssa.errors import RunError, TcssaError, UsageError
from tcssa.features import BagRef, find_bags, open_bag
from tcssa.mil.results.finished import FinishedRun
from tcssa.plugins import is_own_encoder, require_told
from tcssa.reporter import Reporter
from tcssa.slides.extraction.extraction import extract
from tcssa.slides.manifest import find_slides
from tcssa.slides.settings import ENCODER_OPTION, ExtractSettings

JOB_FOLDER = "job"
_GRID = {"mpp": "mpp_target", "patch_size": "patch_size", "overlap": "overlap"}
"""Settings that patches are cut by, and the attributes of a feature file that hold them."""


@dataclass(frozen=True)
class Source:
    """One slide to draw."""

    bag: BagRef
    slide: Path | None
    """The slide's file, None where it is not at hand."""

    @property
    def slide_id(self) -> str:
        """The slide's name."""
        return self.bag.slide_id


@dataclass(frozen=True)
class Failure:
    """A slide that something went wrong with."""

    slide_id: str
    reason: str
    hint: str | None = None


def of_features(features: Sequence[Path | str], slides: Path | None) -> list[Source]:
    """Find slides by their features.

    Args:
        features: Feature files and folders of them.
        slides: Folder of the slides' own files, if it is at hand.

    Raises:
        MissingDataError: A path does not exist, or a folder is empty.
        UsageError: Two files are of the same slide.
    """
    files = {} if slides is None else {each.slide_id: each.path for each in find_slides([slides])}
    bags: dict[str, BagRef] = {}
    for ref in find_bags(Path(place) for place in features):
        other = bags.setdefault(ref.slide_id, ref)
        if other is not ref:
            raise UsageError(
                f"two files hold features of slide {ref.slide_id!r}: {other} and {ref}",
                hint="give one of them",
            )
    return [Source(ref, files.get(name)) for name, ref in bags.items()]


def of_slides(
    slides: Sequence[str],
    out: Path,
    trained: FinishedRun,
    settings: ExtractSettings,
    reporter: Reporter,
) -> tuple[list[Source], list[Failure]]:
    """Extract slides as the run's own features were extracted.

    Args:
        slides: Slide files, folders of slides, or remote addresses.
        out: Folder in which the job is written.
        trained: The run, whose features are the model for what the settings leave open.
        settings: Settings of the extraction.
        reporter: Told of progress, and of the settings that were taken from the run.

    Returns:
        The slides that have features, and those that have none.

    Raises:
        RunError: The settings leave open how patches are cut, and the run's features do not say.
    """
    settings = _as_trained(trained, settings, reporter)
    report = extract(find_slides(slides), out / JOB_FOLDER, settings, reporter)
    found, failures = [], []
    for each in report.slides:
        if each.status in ("done", "skipped"):
            path = report.features_folder / f"{each.slide_id}.h5"
            slide = each.path if each.path.exists() else None  # a remote one was a copy
            found.append(Source(BagRef(path), slide))
        else:
            reason = each.reason or {"empty": "no patch holds tissue"}.get(each.status, each.status)
            failures.append(Failure(each.slide_id, reason, each.hint))
    return found, failures


def _as_trained(
    trained: FinishedRun, settings: ExtractSettings, reporter: Reporter
) -> ExtractSettings:
    given = settings.model_fields_set
    update: dict[str, object] = {}
    if "encoder" not in given and trained.encoder is not None:
        if is_own_encoder(trained.encoder):
            require_told(trained.encoder, None, trained.folder, ENCODER_OPTION, RunError)
        update["encoder"] = trained.encoder
    open_ones = {name: noted for name, noted in _GRID.items() if name not in given}
    if open_ones:
        noted = _attributes(trained)
        lacking = [name for name, attribute in open_ones.items() if attribute not in noted]
        if lacking:
            raise RunError(
                trained.folder,
                f"its features do not say how patches were cut ({', '.join(lacking)})",
                hint="state it with --extract-config FILE, a YAML of settings of tcssa extract, "
                "or extract first and give the features",
            )
        update |= {name: noted[attribute] for name, attribute in open_ones.items()}
    said = ", ".join(f"{name} {value}" for name, value in update.items())
    reporter.note(f"slides are extracted as the run's features were: {said}")
    return ExtractSettings.model_validate({**settings.model_dump(exclude_unset=True), **update})


def _attributes(trained: FinishedRun) -> dict[str, object]:
    """Return the attributes of one of the run's own feature files, {} where none can be read."""
    folder = trained.settings.cohort.features
    try:
        with open_bag(find_bags([] if folder is None else [folder])[0]) as bag:
            found = {
                name: bag.attributes[name] for name in _GRID.values() if name in bag.attributes
            }
    except (TcssaError, IndexError):
        return {}
    return {
        name: value.item() if hasattr(value, "item") else value for name, value in found.items()
    }
