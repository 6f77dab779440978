"""The loop of an extraction: slides are planned, read, encoded and recorded as they come."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tcssa.compute.devices import num_cores
from tcssa.encoders import Encoder, EncoderSpec
from tcssa.errors import SlideError, TcssaError
from tcssa.files import atomic
from tcssa.files.forwarding import look_again
from tcssa.files.lock_objects import LockObjects
from tcssa.files.locks import FolderLocks
from tcssa.files.picture import read_rgb
from tcssa.files.work_locks import locks_in
from tcssa.reporter import Reporter, Task
from tcssa.slides.extraction.encoding import Encoding, SlideWork
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.extraction.pictures import with_dropped
from tcssa.slides.extraction.pipeline import Part, Planned, parts, planned
from tcssa.slides.extraction.plan import SlidePlan, plan_slide, why_empty
from tcssa.slides.extraction.report import LoopFigures, SlideResult
from tcssa.slides.extraction.resume import Params, params_of
from tcssa.slides.extraction.sinks import PatchSink, SlideSink, finished_by_all
from tcssa.slides.image.reader import PatchReader
from tcssa.slides.image.remote import SlideCache
from tcssa.slides.image.staging import Stage
from tcssa.slides.manifest import SlideFile
from tcssa.slides.settings import ExtractSettings, place_and_size

_MOST_DEFAULT_READERS = 8
_TOO_COARSE = 1.1
_STAGED_AHEAD = 2
"""Slides that are copied ahead of the one that is planned. More would be kept from others who
share the list, and one after another they take what the disk gives."""


def work_on_slides(
    slides: Iterable[SlideFile],
    settings: ExtractSettings,
    layout: JobLayout,
    spec: EncoderSpec,
    sinks: Sequence[SlideSink],
    on_result: Callable[[SlideResult], None],
    reporter: Reporter,
    task: Task,
) -> LoopFigures:
    """Extract slides one after another, as the iterable gives them.

    Args:
        slides: The slides; the next one is taken when the one before it is planned.
        settings: Settings of the extraction.
        layout: Layout of the job that the files go to.
        spec: The encoder.
        sinks: Sinks of the features, at least one.
        on_result: Called with the result of each slide.
        reporter: Receives warnings.
        task: Told what is being worked on.

    Raises:
        DeviceError: The device is not available.
        DiskFullError: There is no space left; what is finished is kept.
        UsageError: A sink does not take the encoder's features.
    """
    with (
        locks_in(layout.features) as locks,
        SlideCache(settings.cache, round(settings.cache_size * 1e9), reporter.note) as cache,
        _stage(settings, reporter) as stage,
    ):
        encoder = spec.load(settings.device)
        for sink in sinks:
            sink.check(spec, encoder)
        loop = _Loop(
            settings, layout, spec, encoder, sinks, locks, cache, stage, reporter, task, on_result
        )
        loop.run(slides)
        if stage is not None:
            loop.figures.staged = dict(stage.counts)
    return loop.figures


def _stage(settings: ExtractSettings, reporter: Reporter) -> AbstractContextManager[Stage | None]:
    if settings.stage is None:
        return nullcontext()
    folder, size_gb = place_and_size(settings.stage)
    return Stage(folder, round(size_gb * 1e9), reporter.warn)


@dataclass(frozen=True)
class _Fetched:
    """A slide as a file of this machine, and what is given back when it was read."""

    slide: SlideFile
    params: Params
    held: ExitStack


@dataclass(frozen=True)
class _Loop:
    """The state that the steps of the loop share."""

    settings: ExtractSettings
    layout: JobLayout
    spec: EncoderSpec
    encoder: Encoder
    sinks: Sequence[SlideSink]
    locks: FolderLocks | LockObjects
    cache: SlideCache
    stage: Stage | None
    reporter: Reporter
    task: Task
    on_result: Callable[[SlideResult], None]
    figures: LoopFigures = field(default_factory=LoopFigures)

    def run(self, slides: Iterable[SlideFile]) -> None:
        """Work on all slides."""
        self.figures.device = self.encoder.device
        began = time.perf_counter()
        try:
            self._say_of_encoder()
            self._work_on(slides)
        finally:
            self.figures.seconds = time.perf_counter() - began

    def _say_of_encoder(self) -> None:
        encoder, settings = self.encoder, self.settings
        if encoder.input_px != settings.patch_size:
            self.reporter.note(
                f"{encoder.name} takes patches of {encoder.input_px} px: "
                f"those of {settings.patch_size} px are resized to it"
            )
        for doubt in self.spec.doubts(settings.mpp):
            self.reporter.warn(doubt)

    def _work_on(self, slides: Iterable[SlideFile]) -> None:
        encoder, settings = self.encoder, self.settings
        num_readers = settings.readers or min(num_cores(), _MOST_DEFAULT_READERS)
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
        num_ahead = 2 * num_readers + batch_size * encoding.calls_at_once // 4
        began = time.perf_counter()
        fetcher, planner = ThreadPoolExecutor(1, "fetch"), ThreadPoolExecutor(1, "plan")
        readers = ThreadPoolExecutor(num_readers, "read")
        num_fetched = 0 if self.stage is None else _STAGED_AHEAD
        try:
            ready = planned(slides, self._fetch, self._plan, num_fetched, (fetcher, planner))
            stream = parts(ready, readers, num_ahead)
            encoding.run(self._of_slides_to_read(stream))
        finally:
            if self.stage is not None:
                self.stage.stop()
            for pool in (fetcher, planner, readers):
                pool.shutdown(cancel_futures=True)
            self.figures.num_encoded = encoding.num_encoded
            total_s = time.perf_counter() - began
            self.figures.shares = encoding.times.shares(total_s, num_readers)

    def _fetch(self, slide: SlideFile) -> _Fetched | SlideResult:
        """Take a slide, if it is free, and copy it here; runs in a thread of its own."""
        slide.require_usable_name()
        owner = self.locks.take(slide.slide_id)
        if owner is not None:
            return SlideResult(slide.slide_id, slide.path, "taken", reason=f"by {owner}")
        # as the slide is now: it may have waited for hours
        params = params_of(slide, self.settings, self.spec)
        if not self.settings.overwrite:  # another process may have done it since we looked
            for sink in self.sinks:
                look_again(sink.folder, [f"{slide.slide_id}.h5"])
            done = finished_by_all(slide, self.sinks, params)
            if done is not None:
                return done
        with ExitStack() as held:
            local = held.enter_context(slide.local(self.cache, self.stage))
            return _Fetched(local, params, held.pop_all())

    def _plan(
        self, slide: SlideFile, fetch: Future[_Fetched | SlideResult]
    ) -> Planned | SlideResult:
        """Plan a slide once it is here; runs in a thread of its own."""
        fetched = fetch.result()
        if isinstance(fetched, SlideResult):
            return fetched
        local, began = fetched.slide, time.perf_counter()
        with fetched.held as held:
            plan = plan_slide(
                local,
                self.settings,
                self.layout,
                fetched.params,
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
            return replace(plan, slide=slide, seconds=time.perf_counter() - began), reader

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
            plan_seconds=plan.seconds,
            device=self.encoder.device,
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
        self.on_result(result)
