"""Heat maps of slides by a finished run.

::

    OUT/
      report.html                 all maps, and how to read them
      heatmaps.csv failed.csv     the slides, and those that something went wrong with
      maps/S.png                  the slide beside its evidence and its attention
      evidence/S.csv              evidence for every class, patch by patch
      geojson/S.geojson           the same for QuPath
      overlays/S.ome.tif          the same as a pyramid of numbers
      patches/S.jpg               patches with the most evidence for and against
      slots/S.png                 the first slot of each patch, of an encoded archive
      slides/S.json               what each slide's files were made from; by it runs resume
      job/                        features of slides that were extracted on the way
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tcssa.compute.devices import resolve_device
from tcssa.errors import DiskFullError, TcssaError, counted
from tcssa.files import atomic
from tcssa.mil.heatmaps.page import PAGE_FILE, write_page_of
from tcssa.mil.heatmaps.pictures import Look
from tcssa.mil.heatmaps.records import Record
from tcssa.mil.heatmaps.sources import Source
from tcssa.mil.heatmaps.work import Work
from tcssa.mil.prediction.doubts import doubts_about
from tcssa.mil.prediction.given_slides import FailedSlide
from tcssa.mil.results.finished import FinishedRun
from tcssa.mil.tasks import MilTask
from tcssa.reporter import Reporter
from tcssa.run import HEATMAPS_FILE

Outcome = TypeVar("Outcome")


@dataclass
class Heatmaps:
    """Result of a drawing: every slide's record, and the slides that failed."""

    folder: Path
    records: list[Record] = field(default_factory=list)
    failed: list[FailedSlide] = field(default_factory=list)
    num_skipped: int = 0
    """Slides that an earlier run drew in the same way."""

    @property
    def page(self) -> Path:
        """The page to look at."""
        return self.folder / PAGE_FILE


def draw_heatmaps(
    trained: FinishedRun,
    sources: Sequence[Source],
    out: Path,
    reporter: Reporter,
    *,
    look: Look | None = None,
    failed: Sequence[FailedSlide] = (),
    overwrite: bool = False,
    device: str = "auto",
    model: str | None = None,
) -> Heatmaps:
    """Compute the evidence of slides' patches and draw it; slides that are done are skipped.

    Args:
        trained: The run.
        sources: The slides.
        out: Folder to write.
        reporter: Told of progress, and of what is left out.
        look: What is drawn, and how.
        failed: Slides that failed before, to be named with the others.
        overwrite: Draw slides again that are done.
        device: Device that the model runs on.
        model: The run's method, if it is the user's own code (``module:factory``).

    Raises:
        UsageError: The run has no class of a name in ``look``.
        CheckpointError: The model is damaged, or names code that ``model`` does not name.
        DiskFullError: There is no space left; finished slides are kept.
    """
    look = look or Look()
    if trained.settings.cohort.unit == "case":
        reporter.note(
            "the run was trained by case: each slide is drawn by itself, as if it were the only "
            "one of its patient"
        )
    work = Work(trained, out, look, overwrite, resolve_device(device), model)
    if work.lacks_reference:
        reporter.warn(
            f"{trained.folder} is of an older version, and has no training slides to compare with: "
            "evidence for a class may lie on normal tissue; train it anew"
        )
    found = Heatmaps(out, failed=list(failed))
    opened = _attempt("opening", sources, work.open, found, reporter)
    for doubt in doubts_about(trained, opened):
        reporter.warn(doubt)
    usable = [source for source in sources if source.slide_id in work.opened]
    done = _attempt("computing evidence", usable, work.evidence, found, reporter)
    together = work.values_of_all(done) if look.same_scale else None
    known = {record.slide_id for record in done}
    drawable = [source for source in sources if source.slide_id in known]
    found.records = _attempt(
        "drawing", drawable, lambda source: work.draw(source, together), found, reporter
    )
    found.num_skipped = work.num_skipped
    _tell(found, sources, look, reporter)
    _write_tables(found, work.model.task)
    reasons = [(each.slide_id, each.reason) for each in found.failed]
    write_page_of(out, trained, found.records, reasons, look)
    return found


def _attempt(
    what: str,
    sources: Sequence[Source],
    step: Callable[[Source], Outcome],
    found: Heatmaps,
    reporter: Reporter,
) -> list[Outcome]:
    """Take a step with each slide; slides that it fails for are named in ``found``."""
    outcomes = []
    with reporter.task(what, len(sources), "slides") as task:
        for source in sources:
            try:
                outcomes.append(step(source))
            except DiskFullError:
                raise
            except TcssaError as error:
                found.failed.append(FailedSlide.of(source.slide_id, source.bag.path, error))
            task.advance()
    return outcomes


def _tell(found: Heatmaps, sources: Sequence[Source], look: Look, reporter: Reporter) -> None:
    """Warn of slides that lack something: places of patches, a picture, their own file."""
    drawn = {record.slide_id for record in found.records if record.pictures}
    has_files = look.crops > 0 and any(source.slide is not None for source in sources)
    lacking = {
        "without a map, since the features do not say where patches lie": [
            record.slide_id for record in found.records if not record.pictures
        ],
        "drawn on the grid of patches, for want of a thumbnail or a slide": [
            record.slide_id for record in found.records if not record.on_slide
        ],
        "without pictures of patches, since their own files are not at hand": [
            source.slide_id
            for source in sources
            if has_files and source.slide is None and source.slide_id in drawn
        ],
    }
    for what, slides in lacking.items():
        if slides:
            more = f" and {len(slides) - 5} more" if len(slides) > 5 else ""
            names = ", ".join(slides[:5])
            reporter.warn(f"{counted(len(slides), 'slide')} {what}: {names}{more}")


def _write_tables(found: Heatmaps, task: MilTask) -> None:
    """Write the tables of slides that are drawn, and of those that failed."""
    compared = sorted({name for record in found.records for name in record.compared})
    rows = [
        [record.slide_id, record.num_patches, "; ".join(record.leading), *record.predicted,
         record.scheme, *(record.pictures[:1] or [""]),
         *(record.compared.get(name, "") for name in compared)]
        for record in found.records
    ]  # fmt: skip
    header = ["slide_id", "num_patches", "leading", *task.value_columns, "scheme", "map"]
    header += [f"compared for {name}" for name in compared]
    atomic.write_csv(found.folder / HEATMAPS_FILE, header, rows)
    failed = [[each.slide_id, each.reason, each.hint] for each in found.failed]
    atomic.write_csv(found.folder / "failed.csv", ["slide_id", "reason", "hint"], failed)
