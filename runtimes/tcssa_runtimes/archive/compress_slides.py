"""Slides to slots in one pass: extraction with a compressor as a sink of the features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tcssa.budgets import Budget
from tcssa.crew.dispatcher import Crew
from tcssa.errors import ArtefactError
from tcssa.features.patch_widths import is_other_width
from tcssa.files.forwarding import look_again
from tcssa.files.work_locks import in_turn
from tcssa.jobs.watch import Watch
from tcssa.plugins import is_own_encoder, require_told
from tcssa.reporter import Reporter, Silent
from tcssa.slides.extraction.extract_options import ExtractOptions, ExtractWorkers
from tcssa.slides.extraction.extraction import as_files, extract
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.extraction.report import ExtractReport, Status
from tcssa.slides.extraction.sinks import SlideSink
from tcssa.slides.manifest import SlideFile
from tcssa.slides.settings import ENCODER_OPTION, ExtractSettings
from tcssa_runtimes.archive.case_files import CaseFiles
from tcssa_runtimes.archive.slot_files import FOLDER, read_facts, slide_features_path
from tcssa_runtimes.archive.slot_sink import SlotFiles
from tcssa_runtimes.backends.open_runtime import open_runtime
from tcssa_runtimes.contract.base import Runtime


@dataclass(frozen=True)
class CompressOptions:
    """Options of `compress_slides`: what is written where, and by whom."""

    keep_features: bool = False
    """Whether to write the features too."""
    slots_out: Path | None = None
    """Slots go to ``slide_features_tcssa`` in this folder; None takes the job's folder of the grid,
    where features are too."""
    budget: Budget | None = None
    """Slots that a slide is folded to, for a model with nested budgets; None keeps all."""
    assignments: bool = False
    """Keep which slots each patch went to, of which heat maps are drawn."""
    crew: Crew | None = None
    """Workers that share the slides; None works in this process alone."""
    cases: CaseFiles | None = None
    """Patients whose slides' files are merged too, and told what became of these."""
    watch: Watch = field(default_factory=Watch)
    """Told of each slide that ends, for programs outside."""


def compress_slides(
    slides: Sequence[SlideFile | Path | str],
    out: Path,
    model: Path,
    settings: ExtractSettings | None = None,
    reporter: Reporter | None = None,
    options: CompressOptions | None = None,
) -> tuple[ExtractReport, Path]:
    """Extract patches, encode and compress them, and write each slide's slots.

    Args:
        slides: Slides as `tcssa.slides.find_slides` returns them, or paths.
        out: The job's folder.
        model: Artefact, run directory or checkpoint; it runs on the encoder's device.
        settings: Settings of the extraction; None takes the defaults. Where they name no encoder,
            it is the one that the model was trained on.
        reporter: Told of progress and warnings.
        options: What is written where, and by whom; None takes the defaults.

    Returns:
        The outcome of every slide, and the path of the slots' index.

    Raises:
        UsageError: The model does not fit the encoder or has no such budget, or slots that exist
            were made by another model or with other parameters.
        ArtefactError: The model was trained on an encoder that is code or a repository of a user's
            choice (``python:…``, ``hf:…``), and the settings do not name it.
        DeviceError: The device is not available.
        DiskFullError: There is no space left; finished slides are kept.
    """
    settings, reporter = settings or ExtractSettings(), reporter or Silent()
    options = options or CompressOptions()
    runtime = _with_budget(model, settings, options.budget)
    # where workers compute, this process only looks at what the model is
    with runtime if options.crew is None else nullcontext():
        for note in runtime.notes:
            reporter.warn(note)
        settings = _with_encoder(settings, runtime.facts.encoder, model)
        _warn_of_width(settings, runtime, reporter)
        folder = options.slots_out or JobLayout.of(out, settings).grid
        slots = SlotFiles(folder, runtime, assignments=options.assignments)
        files = _files(slides, options.cases, runtime, reporter)
        try:
            how = _extract_options(options, model, slots)
            report = extract(files, out, settings, reporter, how)
        finally:  # of what is there, also where this fails
            index = slots.write_index(reporter.note)
    if options.cases is not None:
        _merge(options.cases, slots, report, runtime, settings, reporter)
    return report, index


def _warn_of_width(settings: ExtractSettings, runtime: Runtime, reporter: Reporter) -> None:
    width, own = settings.mpp * settings.patch_size, runtime.facts.extraction.patch_um
    if is_other_width(width, own):
        reporter.warn(
            f"the model was trained on patches {own:g} µm wide, and these are {width:g} µm, so "
            "their slots may mean little; see --patch-size, --mpp and --magnification"
        )


def _files(
    slides: Sequence[SlideFile | Path | str],
    cases: CaseFiles | None,
    runtime: Runtime,
    reporter: Reporter,
) -> list[SlideFile]:
    """Return the slides' files, and plan the merging of their patients if it is wanted."""
    files = as_files(slides, reporter)
    if cases is not None:
        cases.plan([file.slide_id for file in files], runtime, reporter)
    return files


def _extract_options(options: CompressOptions, model: Path, slots: SlotFiles) -> ExtractOptions:
    """Return the options of an extraction whose features become slots."""
    workers = None
    if options.crew is not None:
        opened = _SlotsOf(model, slots.out, options.budget, options.assignments)
        workers = ExtractWorkers(options.crew, opened)
    return ExtractOptions(options.keep_features, [slots], workers, options.watch)


@dataclass(frozen=True)
class _SlotsOf:
    """Opens the sink of slots in a worker."""

    model: Path
    folder: Path
    budget: Budget | None
    assignments: bool

    @contextmanager
    def __call__(self, settings: ExtractSettings) -> Iterator[Sequence[SlideSink]]:
        with _with_budget(self.model, settings, self.budget) as runtime:
            yield [SlotFiles(self.folder, runtime, assignments=self.assignments)]


def _with_budget(model: Path, settings: ExtractSettings, budget: Budget | None) -> Runtime:
    runtime = open_runtime(model, device=settings.device)
    runtime.set_budget(budget)
    return runtime


def _with_encoder(
    settings: ExtractSettings, trained_on: str | None, model: Path
) -> ExtractSettings:
    """Name the encoder that the model was trained on, unless the settings name one."""
    if "encoder" in settings.model_fields_set or trained_on is None:
        return settings
    if is_own_encoder(trained_on):
        require_told(trained_on, None, model, ENCODER_OPTION, ArtefactError)
    return settings.model_copy(update={"encoder": trained_on})


def _merge(
    cases: CaseFiles,
    slots: SlotFiles,
    report: ExtractReport,
    runtime: Runtime,
    settings: ExtractSettings,
    reporter: Reporter,
) -> None:
    """Merge the files of patients' slides, those that were there before among them."""
    empty, again = _slides_of(report, "empty"), settings.overwrite
    with in_turn(slots.folder, "cases", reporter.note):
        encoded = {name: slots.facts_of(name) for name in _slides_of(report, "done", "skipped")}
        taken = _slides_of(report, "taken")
        look_again(slots.out / FOLDER, [f"{name}.h5" for name in taken])
        for name in taken:  # those that the others have done by now
            facts = read_facts(slide_features_path(slots.out, name))
            if facts is not None and facts.origin.model_sha256 == runtime.facts.sha256:
                encoded[name] = facts
        cases.merge(encoded, empty, slots.out, runtime, reporter, taken=taken, overwrite=again)


def _slides_of(report: ExtractReport, *statuses: Status) -> list[str]:
    return [slide.slide_id for slide in report.slides if slide.status in statuses]
