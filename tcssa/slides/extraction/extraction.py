"""Extraction of bags of patch features from slides: all of ``tcssa extract`` as one call."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tcssa.config.settings import write_resolved
from tcssa.crew.dispatcher import Dispatcher
from tcssa.crew.left_behind import LeftBehind
from tcssa.encoders import EncoderSpec, encoder_spec
from tcssa.errors import SlideError, UsageError, counted
from tcssa.files import atomic
from tcssa.files.forwarding import look_again
from tcssa.files.work_locks import in_turn
from tcssa.jobs.record import write_record
from tcssa.reporter import Reporter, Silent, Task
from tcssa.slides.extraction.extract_options import ExtractOptions, ExtractWorkers
from tcssa.slides.extraction.feature_files import FeatureFiles
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.extraction.report import ExtractReport, SlideResult, update_failures
from tcssa.slides.extraction.resume import params_of, require_same_fallback
from tcssa.slides.extraction.shared_job import ExtractJob
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
    options: ExtractOptions | None = None,
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
        options: Who works, what is kept and who watches; None takes the defaults.

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
    options = options or ExtractOptions()
    check_readers(settings.reader, reporter)
    files = as_files(slides, reporter)
    work = _Work.of(Path(out), settings, reporter, options)
    pending = work.skip_finished(files)
    num_done = len(files) - len(pending)
    _discard_leftovers(work.layout)
    # a slide is done when the last of the sinks has it
    write_record(work.layout.features, "extract", len(files), work.sinks[-1].folder)
    with (
        options.watch.over("extract", len(files), num_done),
        reporter.task("extracting", len(files), "slides") as task,
    ):
        task.advance(num_done)
        if pending:
            write_resolved(settings, work.layout.features)
        while pending:
            pending = work.over(pending, task)
    places = {file.slide_id: place for place, file in enumerate(files)}
    work.report.slides.sort(key=lambda slide: places[slide.slide_id])
    return work.report


@dataclass(frozen=True)
class _Work:
    """The work of one call of `extract`, and where its results go."""

    out: Path
    settings: ExtractSettings
    reporter: Reporter
    options: ExtractOptions
    layout: JobLayout
    spec: EncoderSpec
    sinks: Sequence[SlideSink]
    report: ExtractReport
    left_behind: LeftBehind

    @classmethod
    def of(
        cls, out: Path, settings: ExtractSettings, reporter: Reporter, options: ExtractOptions
    ) -> Self:
        """Return the work of a call, of which nothing is begun.

        Raises:
            UsageError: No sink takes the features.
        """
        layout = JobLayout.of(out, settings)
        own = [FeatureFiles(layout, settings)] if options.keep_features else []
        return cls(
            out,
            settings,
            reporter,
            options,
            layout,
            encoder_spec(settings.encoder, settings.weights),
            _sinks(own, options.more_sinks),
            ExtractReport(features_folder=layout.features),
            LeftBehind(layout.features, reporter),
        )

    def skip_finished(self, files: Sequence[SlideFile]) -> list[SlideFile]:
        """Return the slides still to be done; all are checked before anything is begun."""
        pending: list[SlideFile] = []
        for file in files:
            before = None
            if not self.settings.overwrite:
                with suppress(SlideError):  # it fails in its turn
                    file.require_usable_name()
                    params = params_of(file, self.settings, self.spec)
                    before = finished_by_all(file, self.sinks, params)
            if before is None:
                pending.append(file)
            else:
                require_same_fallback(before, self.settings.fallback_mpp)
                self.report.slides.append(before)
        return pending

    def over(self, pending: Sequence[SlideFile], task: Task) -> list[SlideFile]:
        """Extract slides; return those that another process had and left undone."""
        workers = self.options.workers
        with self._cleaned_up():
            if workers is None:
                self._alone(pending, task)
            else:
                self._shared(pending, task, workers)
        return self._left_behind(pending)

    def _alone(self, pending: Sequence[SlideFile], task: Task) -> None:
        def record(result: SlideResult) -> None:
            self.report.slides.append(result)
            self.options.watch.slide(result.event)
            task.advance()

        what = (pending, self.settings, self.layout, self.spec, self.sinks)
        self.report.take_figures(work_on_slides(*what, record, self.reporter, task))

    def _shared(self, pending: Sequence[SlideFile], task: Task, workers: ExtractWorkers) -> None:
        report, began = self.report, time.perf_counter()
        job = ExtractJob.of(self.out, self.settings, workers, self.options.keep_features)
        told = (self.reporter, task, self.options.watch, self.left_behind.deaths)
        report.add_up(Dispatcher(job, pending, workers.crew, report.slides.append, *told).run())
        report.seconds += time.perf_counter() - began
        # with those of workers that died before they could say
        done = (slide.num_patches for slide in report.slides if slide.status == "done")
        report.num_encoded = sum(done)

    def _left_behind(self, pending: Sequence[SlideFile]) -> list[SlideFile]:
        """Return slides that another process had, has no more, and left undone: it died."""
        report = self.report
        taken = {slide.slide_id for slide in report.slides if slide.status == "taken"}
        if self.settings.overwrite:  # those of others were done since, for all that can be told
            taken &= self.left_behind.deaths.keys()
        again = self.left_behind.among(pending, taken)
        names = {slide.slide_id for slide in again}
        report.slides = [slide for slide in report.slides if slide.slide_id not in names]
        for sink in self.sinks:
            look_again(sink.folder, [f"{name}.h5" for name in names])
        left = self.skip_finished(again)  # what is done may be new
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
    with in_turn(layout.features, _FAILURES, reporter.note, _FAILURES_WAIT_S) as owner:
        if owner is not None:
            reporter.warn(f"{layout.failures} is held by {owner}: not brought up to date")
            return
        look_again(layout.failures.parent, [layout.failures.name])
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
