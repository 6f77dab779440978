"""The features of slides, made as those were that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tcssa.config.settings import resolve
from tcssa.crew.dispatcher import Crew
from tcssa.encoders.registry import encoder_spec, is_encoder_name
from tcssa.errors import RunError, TcssaError, UsageError
from tcssa.features import BagRef, find_bags, open_bag
from tcssa.features.extraction_record import ExtractionRecord
from tcssa.mil.prediction.given_slides import FailedSlide
from tcssa.mil.results.finished import FinishedRun
from tcssa.plugins import is_own_encoder, require_told
from tcssa.reporter import Reporter
from tcssa.slides import ExtractSettings, extract
from tcssa.slides.extraction.extract_options import ExtractOptions, ExtractWorkers
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.extraction.report import SlideResult
from tcssa.slides.manifest import SlideFile
from tcssa.slides.settings import ENCODER_OPTION

_TISSUE = ("otsu", "texture", "all")
_GRID = {"mpp": "magnification", "patch_size": "", "overlap": "stride"}
"""Settings that patches are cut by, and by which other names a user may give them."""


def extraction_of(run: FinishedRun) -> ExtractionRecord:
    """Return how the features of a run were made.

    Of a run that is older than the record, its features are asked, if they are still there.
    """
    features = run.settings.cohort.features
    if run.extraction.stated() or features is None:
        return run.extraction
    records = []
    try:
        for ref in find_bags([features]):
            with open_bag(ref) as bag:
                records.append(ExtractionRecord.of(bag.attributes))
    except TcssaError:
        return run.extraction
    return ExtractionRecord.agreed(records)


def extraction_settings(
    model: Path,
    encoder: str | None,
    made: ExtractionRecord,
    reporter: Reporter,
    *,
    flags: Mapping[str, Any],
    config: Path | None = None,
) -> ExtractSettings:
    """Return the settings under which slides are extracted for a model.

    Args:
        model: The run or artefact, for messages.
        encoder: Encoder of the features it was trained on, if known.
        made: How these features were made, as far as it is known.
        reporter: Warned of everything that is not as in training, or not known.
        flags: Settings that the user gave.
        config: A file of settings that the user gave.

    Raises:
        UsageError: The encoder is not known, tcssa cannot load it, or the user gave another one; or
            neither the model nor the user says how patches are cut.
        RunError: The encoder is code or a repository of a user's choice, and the user did not name
            it.
    """
    told = flags.get("encoder")
    if encoder is None and told is None:
        raise UsageError(
            f"{model} does not say which encoder its features were made with, so slides cannot be "
            "encoded for it",
            hint="name it with --encoder, or extract the slides and give their features",
        )
    if is_own_encoder(encoder):
        require_told(encoder, told, model, ENCODER_OPTION, RunError)
    known = {"encoder": encoder, **made.stated()}
    known.pop("encoder_weights", None)
    if known.get("tissue") not in _TISSUE:
        known.pop("tissue", None)
    given: dict[str, Any] = {}

    def as_in_training(by_user: Mapping[str, Any]) -> dict[str, Any]:
        given.update(by_user)
        return {name: value for name, value in known.items() if not _is_given(name, given)}

    settings = resolve(ExtractSettings, flags=flags, config=config, preset=as_in_training)
    _require_encoder(model, encoder, settings)
    unknown = [name for name in _GRID if name not in known and not _is_given(name, given)]
    if unknown:
        raise UsageError(
            f"{model} does not say how the patches of its training were cut ({', '.join(unknown)})",
            hint="state it with --extract-config FILE, a YAML of settings of tcssa extract, or "
            "extract the slides first and give their features",
        )
    taken = {name: known[name] for name in _GRID if not _is_given(name, given)}
    if taken:
        said = ", ".join(f"{name} {value}" for name, value in taken.items())
        reporter.note(f"slides are extracted as the features of {model} were: {said}")
    for doubt in _doubts(settings, made):
        reporter.warn(doubt)
    return settings


def _require_encoder(model: Path, encoder: str | None, settings: ExtractSettings) -> None:
    """Require the encoder of the training features, and one that tcssa can load."""
    if encoder is not None and settings.encoder != encoder:
        raise UsageError(
            f"{model} was trained on features of {encoder!r}, not of {settings.encoder!r}",
            hint=f"leave --encoder out, or give --encoder {encoder}",
        )
    if not is_encoder_name(settings.encoder):
        raise UsageError(
            f"the features of {model} were made with {settings.encoder!r}, which tcssa cannot load",
            hint="extract the slides with that encoder, and give their features",
        )


def _is_given(name: str, given: Mapping[str, Any]) -> bool:
    return any(given.get(each) is not None for each in (name, _GRID.get(name, "")))


def _doubts(settings: ExtractSettings, made: ExtractionRecord) -> list[str]:
    """List what is not as in training."""
    weights = encoder_spec(settings.encoder, settings.weights).weights_hash
    now = {**settings.model_dump(), "encoder_weights": weights}
    return [
        f"the model was trained on features of {name} = {value}, the slides are extracted with "
        f"{now[name]}"
        for name, value in made.stated().items()
        if now[name] != value
    ]


def extract_slides(
    slides: Sequence[SlideFile],
    job: Path,
    settings: ExtractSettings,
    reporter: Reporter,
    crew: Crew | None = None,
) -> tuple[list[BagRef], list[FailedSlide]]:
    """Extract slides, and return their feature files, and the slides that have none.

    Args:
        slides: The slides.
        job: The job folder; slides that are done there already are not extracted again.
        settings: Settings of the extraction.
        reporter: Told of progress and warnings.
        crew: Workers that share the slides; None works in this process alone.

    Raises:
        UsageError: Features that are there already were made with other parameters.
        DeviceError: The device is not available.
        DiskFullError: There is no space left; what is finished is kept.
    """
    layout = JobLayout.of(job, settings)
    bags: list[BagRef] = []
    failed: list[FailedSlide] = []
    options = ExtractOptions(workers=None if crew is None else ExtractWorkers(crew))
    for result in extract(slides, job, settings, reporter, options).slides:
        if result.status in ("done", "skipped") and result.num_patches:
            bags.append(BagRef(layout.features_file(result.slide_id)))
        else:
            failed.append(FailedSlide(result.slide_id, result.path, _why(result), result.hint))
    return bags, failed


def _why(result: SlideResult) -> str:
    if result.status == "taken":
        return "another process is extracting it; give the command again when it is done"
    reason = (result.reason or "holds no tissue").removeprefix(f"{result.path}: ")
    return reason.removesuffix(f" ({result.hint})")
