"""Extraction of bags of patch features from slides: all of ``tcssa extract`` as one call."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tcssa.config.settings import write_resolved
from tcssa.crew.dispatcher import Dispatcher, Engine
from tcssa.encoders import EncoderSpec, encoder_spec
from tcssa.errors import SlideError, UsageError, counted
from tcssa.files import atomic
from tcssa.files.locks import FolderLocks, held_locks
from tcssa.jobs.record import write_record
from tcssa.jobs.watch import Watch
from tcssa.reporter import Reporter, Silent, Task
from tcssa.slides.extraction.feature_files import FeatureFiles
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.extraction.report import ExtractReport, SlideResult, update_failures
from tcssa.slides.extraction.resume import params_of, require_same_fallback
from tcssa.slides.extraction.shared_job import ExtractJob, OpenSinks
from tcssa.slides.extraction.sinks import SlideSink, finished_by_all
from tcssa.slides.extraction.slide_loop import work_on_slides
from tcssa.slides.manifest import SlideFile, find_slides
from tcssa.slides.readers.registry import check_readers
from tcssa.slides.settings import ExtractSettings

_FAILURES = "failures"
_FAILURES_WAIT_S = 10.0


def extract(
    slides: Sequence[SlideFile | Path | str],
    out: Path | str,
    settings: ExtractSettings | None = None,
    reporter: Reporter | None = None,
    *,
    keep_features: bool = True,
    more_sinks: Sequence[SlideSink] = (),
    engine: Engine | None = None,
    open_sinks: OpenSinks | None = None,
    watch: Watch | None = None,
) -> ExtractReport:
    """Extract the patch features of slides into a job folder.

    Slides that are finished already are skipped, so a run that was cut short resumes where it
    stopped. A slide that cannot be read is reported as failed, and the others go on. Several
    processes, on one machine or on many, may be given the same slides and the same job: each
    takes the next slide that no other has.

    Args:
        slides: Slides as `find_slides` returns them, or paths.
        out: Folder of the job.
        settings: Settings of the extraction; None takes the defaults.
        reporter: Receives progress and warnings; None shows nothing.
        keep_features: Whether to write the features.
        more_sinks: Further sinks of the features, such as a compressor that makes slots of them.
        engine: Starts workers that share the slides; None works in this process alone.
        open_sinks: Opens the further sinks in each worker; wanted where there are both.
        watch: Told of each slide that ends, for programs outside.

    Returns:
        The result of every slide.

    Raises:
        UsageError: Finished features in ``out`` were made with other parameters, or no sink takes
            the features.
        DeviceError: The device is not available.
        DiskFullError: There is no space left; what is finished is kept.
        ProcessesError: Workers die before they begin.
    """
    settings, reporter = settings or ExtractSettings(), reporter or Silent()
    watch = watch or Watch()
    check_readers(settings.reader, reporter)
    files = as_files(slides, reporter)
    layout = JobLayout.of(Path(out), settings)
    spec = encoder_spec(settings.encoder, settings.weights)
    sinks = _sinks([FeatureFiles(layout, settings)] if keep_features else [], more_sinks)
    report = ExtractReport(features_folder=layout.features)
    pending = _skip_finished(files, settings, sinks, spec, report)
    _discard_leftovers(layout)
    num_done = len(files) - len(pending)
    # a slide is done when the last of the sinks has it
    write_record(layout.features, "extract", len(files), sinks[-1].folder)
    with (
        watch.over("extract", len(files), num_done),
        reporter.task("extracting", len(files), "slides") as task,
    ):
        task.advance(num_done)
        if pending:
            write_resolved(settings, layout.features)
        while pending:
            work = _Work(pending, settings, layout, report, reporter, task, watch)
            if engine is None:
                work.alone(spec, sinks)
            else:
                job = ExtractJob.of(Path(out), settings, engine, keep_features, open_sinks)
                work.shared(job, engine)
            pending = work.left_behind(spec, sinks)
    places = {file.slide_id: place for place, file in enumerate(files)}
    report.slides.sort(key=lambda slide: places[slide.slide_id])
    return report


@dataclass(frozen=True)
class _Work:
    """The slides that one call of `extract` has to do, and where their results go."""

    pending: Sequence[SlideFile]
    settings: ExtractSettings
    layout: JobLayout
    report: ExtractReport
    reporter: Reporter
    task: Task
    watch: Watch

    def alone(self, spec: EncoderSpec, sinks: Sequence[SlideSink]) -> None:
        """Extract in this process."""

        def record(result: SlideResult) -> None:
            self.report.slides.append(result)
            self.watch.slide(result.event)
            self.task.advance()

        what = (self.pending, self.settings, self.layout, spec, sinks)
        with self._cleaned_up():
            self.report.take_figures(work_on_slides(*what, record, self.reporter, self.task))

    def shared(self, job: ExtractJob, engine: Engine) -> None:
        """Extract in the workers of an engine."""
        began, record = time.perf_counter(), self.report.slides.append
        told = (self.reporter, self.task, self.watch)
        crew = Dispatcher(job, self.pending, engine, record, *told)
        with self._cleaned_up():
            shares = [*self.report.workers, *crew.run()]
            self.report.add_up(shares, time.perf_counter() - began)

    def left_behind(self, spec: EncoderSpec, sinks: Sequence[SlideSink]) -> list[SlideFile]:
        """Return slides that another process had, has no more, and left undone: it died."""
        report = self.report
        in_work = {lock.name for lock in held_locks(self.layout.features) if lock.is_live}
        taken = {slide.slide_id for slide in report.slides if slide.status == "taken"} - in_work
        again = [slide for slide in self.pending if slide.slide_id in taken]
        # clocks may differ: a pass that got nothing is the last; what is done may be new
        if self.settings.overwrite or len(again) == len(self.pending):
            return []
        names = {slide.slide_id for slide in again}
        report.slides = [slide for slide in report.slides if slide.slide_id not in names]
        left = _skip_finished(again, self.settings, sinks, spec, report)
        if left:
            self.reporter.note(f"{counted(len(left), 'slide')} that another process left undone")
        return left

    @contextmanager
    def _cleaned_up(self) -> Iterator[None]:
        """Remove what a dead worker left, and update the table of failures, whatever happens."""
        try:
            yield
        finally:
            _discard_leftovers(self.layout)
            _write_failures(self.layout, self.report, self.reporter)


def _sinks(own: Sequence[SlideSink], more: Sequence[SlideSink]) -> list[SlideSink]:
    """Join sinks of the features.

    Raises:
        UsageError: There are none.
    """
    if not (own or more):
        raise UsageError("nothing takes the features: keep them, or give a sink")
    return [*own, *more]


def _discard_leftovers(layout: JobLayout) -> None:
    for folder in layout.folders:
        atomic.discard_leftovers(folder)


def _write_failures(layout: JobLayout, report: ExtractReport, reporter: Reporter) -> None:
    """Update the table of failures; processes that share the job take turns."""
    with FolderLocks(layout.features) as locks:
        deadline = time.monotonic() + _FAILURES_WAIT_S
        while (owner := locks.take(_FAILURES)) and time.monotonic() < deadline:
            time.sleep(0.05)
        if owner is not None:
            reporter.warn(f"{layout.failures} is held by {owner}: not brought up to date")
            return
        update_failures(layout.failures, report.slides)


def as_files(slides: Sequence[SlideFile | Path | str], reporter: Reporter) -> list[SlideFile]:
    """Return slides, of which some may be paths, as `find_slides` does.

    Args:
        slides: The slides.
        reporter: Told of what is passed over in folders.
    """
    known = [slide for slide in slides if isinstance(slide, SlideFile)]
    paths = [slide for slide in slides if not isinstance(slide, SlideFile)]
    return [*known, *find_slides(paths, reporter=reporter)] if paths else known


def _skip_finished(
    files: Sequence[SlideFile],
    settings: ExtractSettings,
    sinks: Sequence[SlideSink],
    spec: EncoderSpec,
    report: ExtractReport,
) -> list[SlideFile]:
    """Return the slides still to be done; all are checked before anything is begun."""
    pending: list[SlideFile] = []
    for file in files:
        before = None
        if not settings.overwrite:
            with suppress(SlideError):  # it fails in its turn
                file.require_usable_name()
                before = finished_by_all(file, sinks, params_of(file, settings, spec))
        if before is None:
            pending.append(file)
        else:
            require_same_fallback(before, settings.fallback_mpp)
            report.slides.append(before)
    return pending
