"""Extraction of bags of patch features from slides: all of ``tcssa extract`` as one call."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tcssa.compute.devices import num_cores
from tcssa.config.settings import write_resolved
from tcssa.encoders import Encoder, EncoderSpec, encoder_spec
from tcssa.errors import SlideError, TcssaError, UsageError
from tcssa.files import atomic
from tcssa.files.locks import FolderLocks
from tcssa.files.picture import read_rgb
from tcssa.reporter import Reporter, Silent, Task
from tcssa.slides.extraction.encoding import Encoding, SlideWork
from tcssa.slides.extraction.feature_files import FeatureFiles
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.extraction.pictures import with_dropped
from tcssa.slides.extraction.pipeline import Part, Planned, parts, planned
from tcssa.slides.extraction.plan import SlidePlan, plan_slide, why_empty
from tcssa.slides.extraction.report import ExtractReport, SlideResult, update_failures
from tcssa.slides.extraction.resume import params_of, require_same_fallback
from tcssa.slides.extraction.sinks import PatchSink, SlideSink, finished_by_all
from tcssa.slides.image.reader import PatchReader
from tcssa.slides.image.remote import SlideCache
from tcssa.slides.manifest import SlideFile, find_slides
from tcssa.slides.readers.registry import check_readers
from tcssa.slides.settings import ExtractSettings

_MAX_DEFAULT_WORKERS = 8
_FAILURES = "failures"
_FAILURES_WAIT_S = 10.0
_TOO_COARSE = 1.1


def extract(
    slides: Sequence[SlideFile | Path | str],
    out: Path | str,
    settings: ExtractSettings | None = None,
    reporter: Reporter | None = None,
    *,
    keep_features: bool = True,
    more_sinks: Sequence[SlideSink] = (),
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

    Returns:
        The result of every slide.

    Raises:
        UsageError: Finished features in ``out`` were made with other parameters, or no sink takes
            the features.
        DeviceError: The device is not available.
        DiskFullError: There is no space left; what is finished is kept.
    """
    settings, reporter = settings or ExtractSettings(), reporter or Silent()
    check_readers(settings.reader, reporter)
    files = _as_files(slides, reporter)
    layout = JobLayout.of(Path(out), settings)
    spec = encoder_spec(settings.encoder, settings.weights)
    sinks = [*([FeatureFiles(layout, settings)] if keep_features else []), *more_sinks]
    if not sinks:
        raise UsageError("nothing takes the features: keep them, or give a sink")
    report = ExtractReport(layout.features)
    pending = _skip_finished(files, settings, sinks, spec, report)
    for folder in layout.folders:
        atomic.discard_leftovers(folder)
    with reporter.task("extracting", len(files), "slides") as task:
        task.advance(len(files) - len(pending))
        if pending:
            with (
                FolderLocks(layout.features) as locks,
                SlideCache(settings.cache, round(settings.cache_size * 1e9)) as cache,
            ):
                write_resolved(settings, layout.features)
                encoder = spec.load(settings.device)
                for sink in sinks:
                    sink.check(spec, encoder)
                report.device = encoder.device
                run = _Run(
                    settings, layout, spec, encoder, sinks, locks, cache, reporter, task, report
                )
                run.extract(pending)
    places = {file.slide_id: place for place, file in enumerate(files)}
    report.slides.sort(key=lambda slide: places[slide.slide_id])
    return report


@dataclass(frozen=True)
class _Run:
    """State that the steps of one extraction share."""

    settings: ExtractSettings
    layout: JobLayout
    spec: EncoderSpec
    encoder: Encoder
    sinks: Sequence[SlideSink]
    locks: FolderLocks
    cache: SlideCache
    reporter: Reporter
    task: Task
    report: ExtractReport

    def extract(self, pending: Sequence[SlideFile]) -> None:
        """Work on all slides, and update the table of failures."""
        began = time.perf_counter()
        try:
            self._say_of_encoder()
            self._work_on(pending)
        finally:
            self.report.seconds = time.perf_counter() - began
            self._write_failures()

    def _say_of_encoder(self) -> None:
        encoder, settings = self.encoder, self.settings
        if encoder.input_px != settings.patch_size:
            self.reporter.note(
                f"{encoder.name} takes patches of {encoder.input_px} px: "
                f"those of {settings.patch_size} px are resized to it"
            )
        for doubt in self.spec.doubts(settings.mpp):
            self.reporter.warn(doubt)

    def _work_on(self, pending: Sequence[SlideFile]) -> None:
        encoder, settings = self.encoder, self.settings
        workers = settings.num_workers or min(num_cores(), _MAX_DEFAULT_WORKERS)
        batch_size = settings.batch_size or encoder.batch_size
        encoding = Encoding(
            encoder,
            batch_size=batch_size,
            dtype=settings.dtype,
            max_failed=settings.max_failed,
            begin=self._begin,
            on_progress=self._show_progress,
            on_end=self._end,
        )
        num_ahead = 2 * workers + batch_size * encoding.calls_at_once // 4
        began = time.perf_counter()
        planner, readers = ThreadPoolExecutor(1, "plan"), ThreadPoolExecutor(workers, "read")
        try:
            stream = parts(planned(pending, self._plan, planner), readers, num_ahead)
            encoding.run(self._of_slides_to_read(stream))
        finally:
            planner.shutdown(cancel_futures=True)
            readers.shutdown(cancel_futures=True)
            self.report.num_encoded = encoding.num_encoded
            total_s = time.perf_counter() - began
            self.report.shares = encoding.times.shares(total_s, workers)

    def _plan(self, slide: SlideFile) -> Planned | SlideResult:
        """Take a slide, if it is free, and plan it; runs in a thread of its own."""
        slide.require_usable_name()
        owner = self.locks.take(slide.slide_id)
        if owner is not None:
            return SlideResult(slide.slide_id, slide.path, "taken", reason=f"by {owner}")
        # as the slide is now: it may have waited for hours
        params = params_of(slide, self.settings, self.spec)
        if not self.settings.overwrite:  # another process may have done it since we looked
            done = finished_by_all(slide, self.sinks, params)
            if done is not None:
                return done
        with ExitStack() as held:
            local = held.enter_context(slide.local(self.cache))
            plan = plan_slide(
                local,
                self.settings,
                self.layout,
                params,
                lambda text: self.task.describe(f"{slide.slide_id}: {text}"),
            )
            reader = PatchReader(
                local.path,
                plan.spec.patch_size_level0,
                self.encoder.input_px,
                self.settings.reader,
                held.pop_all(),
                self.settings.resample,
                self.settings.scene,
            )
            return plan, reader

    def _of_slides_to_read(self, stream: Iterable[Part]) -> Iterator[Part]:
        """Yield the parts of slides that have a plan; record the results of the others."""
        for part in stream:
            slide, made = part.slide.slide, part.slide.made
            if isinstance(made, tuple):
                yield part
            elif isinstance(made, SlideResult):
                self._record(made)
            else:
                self._record(self._failed(SlideResult(slide.slide_id, slide.path, "failed"), made))

    def _begin(self, plan: SlidePlan) -> list[PatchSink]:
        """Open the sinks of a slide."""
        name, mpp = plan.slide.slide_id, plan.resolution.mpp
        self.task.describe(name)
        if mpp > _TOO_COARSE * self.settings.mpp:
            self.reporter.warn(
                f"{name}: its {mpp:g} µm per pixel are coarser than the "
                f"{self.settings.mpp:g} asked for; the patches are enlarged"
            )
        for remark in plan.remarks:
            self.reporter.warn(f"{name}: {remark}")
        return [sink.begin(plan, self.encoder) for sink in self.sinks]

    def _show_progress(self, work: SlideWork) -> None:
        total = len(work.plan.corners)
        self.task.describe(f"{work.plan.slide.slide_id}: {work.num_patches} of {total} patches")

    def _end(self, work: SlideWork) -> None:
        """Record the result of a slide that was read."""
        plan, name, total = work.plan, work.plan.slide.slide_id, len(work.plan.corners)
        result = SlideResult(
            name,
            plan.slide.path,
            "done",
            mpp=plan.resolution.mpp,
            mpp_source=plan.resolution.source,
            seconds=time.perf_counter() - work.began,
            remarks=plan.remarks,
        )
        if work.error is not None:
            self._record(self._failed(result, work.error))
            return
        result = replace(result, num_patches=work.num_patches, num_failed=work.num_failed)
        if total == 0:
            result = replace(
                result, status="empty", reason=why_empty(plan, self.settings, self.layout)
            )
            self.reporter.warn(f"{name}: {result.reason}")
        elif work.num_failed:
            reason = f"{work.num_failed} of {total} patches could not be read and are left out"
            result = replace(result, reason=reason)
            self.reporter.warn(f"{name}: {reason}; the file lists them as failed_coords")
            self._cross_out(work)
        self._record(result)

    def _cross_out(self, work: SlideWork) -> None:
        """Cross out the dropped patches on the slide's overview."""
        plan = work.plan
        picture = self.layout.contours_file(plan.slide.slide_id)
        side, width = plan.spec.patch_size_level0, plan.dimensions[0]
        dropped = np.concatenate(work.failed)
        try:
            overview = read_rgb(picture, SlideError)
        except SlideError as error:  # the features are whole without it
            self.reporter.warn(f"{error}: the patches left out are not shown on it")
            return
        atomic.write_bytes(picture, with_dropped(overview, dropped, side, width))

    def _failed(self, result: SlideResult, error: TcssaError) -> SlideResult:
        self.reporter.warn(f"{result.slide_id} failed: {error}")
        reason = f"{error} ({error.hint})" if error.hint else str(error)
        shown = Path(os.fsencode(result.path).decode("utf-8", "replace"))  # it may be no text
        return replace(result, path=shown, status="failed", reason=reason, hint=error.hint)

    def _record(self, result: SlideResult) -> None:
        if result.status != "taken":
            self.locks.release(result.slide_id)
        self.report.slides.append(result)
        self.task.advance()

    def _write_failures(self) -> None:
        """Update the table of failures; processes that share the job take turns."""
        deadline = time.monotonic() + _FAILURES_WAIT_S
        while (owner := self.locks.take(_FAILURES)) and time.monotonic() < deadline:
            time.sleep(0.05)
        if owner is not None:
            self.reporter.warn(f"{self.layout.failures} is held by {owner}: not brought up to date")
            return
        update_failures(self.layout.failures, self.report.slides)
        self.locks.release(_FAILURES)


def _as_files(slides: Sequence[SlideFile | Path | str], reporter: Reporter) -> list[SlideFile]:
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
