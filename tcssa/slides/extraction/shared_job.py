"""An extraction that several workers share, as each of them does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from tcssa.crew.member import Job
from tcssa.encoders import encoder_spec
from tcssa.jobs.watch import SlideEvent
from tcssa.reporter import Reporter
from tcssa.slides.extraction.extract_options import ExtractWorkers, OpenSinks
from tcssa.slides.extraction.feature_files import FeatureFiles
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.extraction.report import LoopFigures, SlideResult
from tcssa.slides.extraction.slide_loop import work_on_slides
from tcssa.slides.manifest import SlideFile
from tcssa.slides.settings import ExtractSettings


@dataclass(frozen=True)
class ExtractJob(Job[SlideFile, SlideResult]):
    """Slides to features, and to what further sinks make of them."""

    out: Path
    settings: ExtractSettings
    keep_features: bool
    open_sinks: OpenSinks | None

    @classmethod
    def of(
        cls,
        out: Path,
        settings: ExtractSettings,
        workers: ExtractWorkers,
        keep_features: bool,
    ) -> Self:
        """Return the job of workers, who divide the cores.

        Args:
            out: Folder of the job.
            settings: Settings of the whole extraction.
            workers: The workers.
            keep_features: Whether features are written.
        """
        crew = workers.crew
        here = {"device": crew.device, "readers": settings.readers or crew.cores}
        return cls(out, settings.model_copy(update=here), keep_features, workers.open_sinks)

    def work(
        self,
        items: Iterator[SlideFile],
        done: Callable[[str, SlideResult], None],
        reporter: Reporter,
    ) -> LoopFigures:
        """See `tcssa.crew.member.Job.work`."""
        settings = self.settings
        layout = JobLayout.of(self.out, settings)
        spec = encoder_spec(settings.encoder, settings.weights)
        opened = nullcontext(()) if self.open_sinks is None else self.open_sinks(settings)
        with opened as more, reporter.task("extracting", None, "slides") as task:
            sinks = [*([FeatureFiles(layout, settings)] if self.keep_features else []), *more]
            return work_on_slides(
                items,
                settings,
                layout,
                spec,
                sinks,
                lambda result: done(result.slide_id, result),
                reporter,
                task,
            )

    def lost(self, item: SlideFile, reason: str) -> SlideResult:
        """See `tcssa.crew.member.Job.lost`."""
        result = SlideResult(item.slide_id, item.path, "failed")
        return replace(result, reason=reason, hint="extract it alone to see why")

    def event(self, slide_id: str, row: SlideResult) -> SlideEvent:
        """See `tcssa.crew.member.Job.event`."""
        return row.event
