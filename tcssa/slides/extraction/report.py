"""Report of an extraction: the result of every slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from tcssa.crew.shares import Join, SharedWork, each_counted, means_by_name, sums_by_name
from tcssa.files import atomic
from tcssa.files.forwarding import remove
from tcssa.files.table import read_table
from tcssa.jobs.watch import SlideEvent

Status = Literal["done", "skipped", "empty", "failed", "taken"]

_COLUMNS = ("slide_id", "path", "reason")


@dataclass(frozen=True)
class SlideResult:
    """Result of one slide.

    Attributes:
        slide_id: Name of the slide.
        path: File of the slide.
        status: ``done``; ``skipped``, done by an earlier run; ``empty``, no patch holds tissue;
            ``failed``; ``taken``, another process is working on it.
        num_patches: Rows of its features.
        num_failed: Patches that could not be read.
        mpp: Level-0 resolution in µm per pixel, None if it is not known.
        seconds: Time from its first patch to its last; slides overlap.
        reason: Why it failed, with the hint in parentheses, or a remark on its patches.
        hint: What to do about a failure, None if nothing is known.
        remarks: What was passed over, taken for granted, or could be read in another way as well.
        mpp_source: Where its resolution is from, as `tcssa.slides.image.slide.Resolution` says.
        plan_seconds: Time to fetch it, if it is remote, and to find its tissue.
        device: Device that encoded it, None if none did in this run.
    """

    slide_id: str
    path: Path
    status: Status
    num_patches: int = 0
    num_failed: int = 0
    mpp: float | None = None
    seconds: float = 0.0
    reason: str | None = None
    hint: str | None = None
    remarks: tuple[str, ...] = ()
    mpp_source: str | None = None
    plan_seconds: float = 0.0
    device: str | None = None

    @property
    def event(self) -> SlideEvent:
        """Return what those who watch the job are told of it."""
        return SlideEvent(
            self.slide_id,
            self.status,
            self.num_patches,
            self.device,
            self.reason,
            {"plan": self.plan_seconds, "encode": self.seconds},
        )


@dataclass
class LoopFigures:
    """Figures of one process's work on slides."""

    seconds: float = 0.0
    """Time the slides took; loading the encoder is not counted."""
    num_encoded: int = 0
    """Patches encoded in this run, without those of skipped slides."""
    device: str | None = None
    """Device that the encoder ran on, None if there was nothing to encode."""
    shares: dict[str, float] = field(default_factory=dict)
    """Shares of the time: ``wait``, ``encode`` and ``write`` of the thread that encodes, and
    ``decode`` of the threads that read, averaged over them."""

    staged: dict[str, int] = field(default_factory=dict)
    """Slides that a ``--stage`` copied (``copied``), and those read where they are, by reason."""


@dataclass
class ExtractReport(LoopFigures, SharedWork):
    """Results of all slides, in the order they were given, and their totals."""

    joins: ClassVar[Mapping[str, Join]] = {
        "device": each_counted,
        "shares": means_by_name,
        "staged": sums_by_name,
    }
    features_folder: Path = field(kw_only=True)
    slides: list[SlideResult] = field(default_factory=list)

    def take_figures(self, figures: LoopFigures) -> None:
        """Take the figures of the one process that worked, beside those it has had before."""
        self.seconds += figures.seconds
        self.num_encoded += figures.num_encoded
        self.device, self.shares = figures.device, figures.shares
        self.staged = figures.staged

    def count(self, status: Status) -> int:
        """Count the slides with this status."""
        return sum(slide.status == status for slide in self.slides)

    @property
    def failed(self) -> list[SlideResult]:
        """The slides that have no features now."""
        return [slide for slide in self.slides if slide.status == "failed"]

    @property
    def num_patches(self) -> int:
        """Patches of all slides that have features now."""
        return sum(slide.num_patches for slide in self.slides)

    @property
    def patches_per_s(self) -> float:
        """Patches encoded per second in this run, end to end."""
        return self.num_encoded / self.seconds if self.seconds > 0 else 0.0


def update_failures(path: Path, slides: Sequence[SlideResult]) -> None:
    """Update the table of failed slides; it is removed where no slide has failed.

    Rows of slides that this run did not touch stay; so do those of slides that it left to another
    process, which may have written them.

    Args:
        path: The CSV table.
        slides: Results of this run.

    Raises:
        TableError: The table is damaged.
    """
    touched = {slide.slide_id for slide in slides if slide.status != "taken"}
    rows = [row for row in _read(path) if row["slide_id"] not in touched]
    rows.extend(
        {"slide_id": slide.slide_id, "path": str(slide.path), "reason": slide.reason or ""}
        for slide in slides
        if slide.status == "failed"
    )
    if not rows:
        remove(path)
        return
    atomic.write_csv(path, _COLUMNS, ([row[name] for name in _COLUMNS] for row in rows))


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    table = read_table(path, needed=_COLUMNS, delimiter=",", multiline=True, may_be_empty=True)
    return list(table.rows.values())
