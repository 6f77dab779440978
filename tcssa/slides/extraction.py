"""Slides in, bags of patch features out: the whole of ``tcssa extract`` as one call."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from tcssa import atomic
from tcssa.encoders import Encoder, EncoderSpec, encoder_spec
from tcssa.errors import DiskFullError, TcssaError
from tcssa.reporter import Reporter, Silent, Task
from tcssa.settings import write_resolved
from tcssa.slides.encode import encode_slide
from tcssa.slides.layout import JobLayout
from tcssa.slides.manifest import SlideFile, find_slides
from tcssa.slides.pipeline import Part, PlannedSlide, closing, parts, planned
from tcssa.slides.plan import SlidePlan, plan_slide
from tcssa.slides.reader import PatchReader
from tcssa.slides.report import ExtractReport, SlideResult, update_failures
from tcssa.slides.resume import finished, params_of
from tcssa.slides.settings import ExtractSettings

_MAX_DEFAULT_WORKERS = 8
_TOO_COARSE = 1.1


def extract(
    slides: Sequence[SlideFile | Path | str],
    out: Path | str,
    settings: ExtractSettings | None = None,
    reporter: Reporter | None = None,
) -> ExtractReport:
    """Extract the patch features of slides into a job folder.

    Slides that are finished already are skipped, so a run that was cut short goes on where it
    stood. A slide that cannot be read is reported as failed, and the others go on.

    Args:
        slides: What `find_slides` gives, or paths.
        out: The job's folder.
        settings: How; None takes the defaults.
        reporter: Told of progress, and of what is doubtful.

    Returns:
        What became of every slide.

    Raises:
        UsageError: Finished features in ``out`` were made with other parameters.
        DeviceError: The device is not there.
        DiskFullError: There is no space left; what is finished is kept.
    """
    settings, reporter = settings or ExtractSettings(), reporter or Silent()
    files = _as_files(slides)
    layout = JobLayout.of(Path(out), settings)
    spec = encoder_spec(settings.encoder, settings.weights)
    report = ExtractReport(layout.features)
    pending = _skip_finished(files, settings, layout, spec, report)
    for folder in layout.folders:
        atomic.discard_leftovers(folder)
    with reporter.task("extracting", len(files), "slides") as task:
        task.advance(len(files) - len(pending))
        if pending:
            write_resolved(settings, layout.features)
            encoder = spec.load(settings.device)
            report.device = encoder.device
            run = _Run(settings, layout, spec, encoder, reporter, task, report)
            began = time.perf_counter()
            try:
                _work_on(pending, run)
            finally:
                report.seconds = time.perf_counter() - began
                update_failures(layout.failures, report.slides)
    return report


@dataclass(frozen=True)
class _Run:
    """What the steps of one extraction share."""

    settings: ExtractSettings
    layout: JobLayout
    spec: EncoderSpec
    encoder: Encoder
    reporter: Reporter
    task: Task
    report: ExtractReport

    def plan(self, slide: SlideFile) -> tuple[SlidePlan, PatchReader]:
        """Plan a slide; runs in a thread of its own."""
        plan = plan_slide(slide, self.settings, self.layout)
        size = plan.spec.patch_size_level0
        return plan, PatchReader(slide.path, size, self.encoder.input_px)


def _as_files(slides: Sequence[SlideFile | Path | str]) -> list[SlideFile]:
    known = [slide for slide in slides if isinstance(slide, SlideFile)]
    paths = [Path(slide) for slide in slides if not isinstance(slide, SlideFile)]
    return [*known, *find_slides(paths)] if paths else known


def _skip_finished(
    files: Sequence[SlideFile],
    settings: ExtractSettings,
    layout: JobLayout,
    spec: EncoderSpec,
    report: ExtractReport,
) -> list[SlideFile]:
    """The slides still to be done. All are checked before anything is begun."""
    pending: list[SlideFile] = []
    for file in files:
        params = params_of(file, settings, spec)
        before = None if settings.overwrite else finished(file, layout, params)
        if before is None:
            pending.append(file)
        else:
            report.slides.append(before)
    return pending


def _work_on(pending: Sequence[SlideFile], run: _Run) -> None:
    encoder, settings = run.encoder, run.settings
    if encoder.input_px != settings.patch_size:
        run.reporter.note(
            f"{encoder.name} takes patches of {encoder.input_px} px: "
            f"those of {settings.patch_size} px are resized to it"
        )
    for doubt in run.spec.doubts(settings.mpp):
        run.reporter.warn(doubt)
    workers = settings.num_workers or min(_num_cores(), _MAX_DEFAULT_WORKERS)
    num_ahead = 2 * workers + (settings.batch_size or encoder.batch_size) // 4
    planner, readers = ThreadPoolExecutor(1, "plan"), ThreadPoolExecutor(workers, "read")
    try:
        stream = parts(planned(pending, run.plan, planner), readers, num_ahead)
        for slide, slide_parts in groupby(stream, key=lambda part: part.slide):
            run.task.describe(slide.slide.slide_id)
            run.report.slides.append(_one_slide(slide, slide_parts, run))
            run.task.advance()
    finally:
        planner.shutdown(cancel_futures=True)
        readers.shutdown(cancel_futures=True)


def _one_slide(slide: PlannedSlide, slide_parts: Iterable[Part], run: _Run) -> SlideResult:
    """Encode a slide. Whatever is wrong with it is its own result and ends nothing else."""
    began = time.perf_counter()
    result = SlideResult(slide.slide.slide_id, slide.slide.path, "failed")
    try:
        if isinstance(slide.made, TcssaError):
            raise slide.made
        plan, reader = slide.made
        result = replace(result, mpp=plan.resolution.mpp)
        with closing(reader, slide_parts):
            result = _encoded(result, plan, slide_parts, run)
    except DiskFullError:
        raise
    except TcssaError as error:
        run.reporter.warn(f"{slide.slide.slide_id} failed: {error}")
        reason = f"{error} ({error.hint})" if error.hint else str(error)
        result = replace(result, reason=reason)
    return replace(result, seconds=time.perf_counter() - began)


def _encoded(
    result: SlideResult, plan: SlidePlan, slide_parts: Iterable[Part], run: _Run
) -> SlideResult:
    name, total = result.slide_id, len(plan.corners)
    if plan.resolution.mpp > _TOO_COARSE * run.settings.mpp:
        run.reporter.warn(
            f"{name}: its {plan.resolution.mpp:g} µm per pixel are coarser than the "
            f"{run.settings.mpp:g} asked for; the patches are enlarged"
        )
    writer = encode_slide(
        plan,
        slide_parts,
        run.encoder,
        settings=run.settings,
        layout=run.layout,
        params=params_of(plan.slide, run.settings, run.spec),
        on_progress=lambda done: run.task.describe(f"{name}: {done} of {total} patches"),
    )
    run.report.num_encoded += writer.num_patches
    result = replace(result, num_patches=writer.num_patches, num_failed=writer.num_failed)
    if total == 0:
        reason = _why_empty(plan, run)
        run.reporter.warn(f"{name}: {reason}")
        return replace(result, status="empty", reason=reason)
    if writer.num_failed == 0:
        return replace(result, status="done")
    reason = f"{writer.num_failed} of {total} patches could not be read and are left out"
    run.reporter.warn(f"{name}: {reason}; the file lists them as failed_coords")
    return replace(result, status="done", reason=reason)


def _why_empty(plan: SlidePlan, run: _Run) -> str:
    if len(plan.spec.corners(*plan.dimensions)) == 0:
        width, height = plan.dimensions
        side = plan.spec.patch_size_level0
        return f"the slide ({width} x {height}) is smaller than one patch ({side} level-0 pixels)"
    picture = run.layout.contours_file(plan.slide.slide_id)
    return f"no patch holds {run.settings.min_tissue:.0%} of tissue, see {picture}"


def _num_cores() -> int:
    """The cores this process may use, fewer than the machine's in a container or a job."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
