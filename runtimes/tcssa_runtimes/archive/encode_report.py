"""Report of encoding an archive: counts, slides that failed, and timings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import ClassVar

from tcssa.crew.shares import Join, SharedWork, each_counted, each_once
from tcssa_runtimes.archive.archive_index import FailedSlide
from tcssa_runtimes.archive.encode_loop import EncodeFigures

_BUSY = ("read_s", "copy_s", "compute_s", "idle_s", "write_s")


@dataclass
class EncodeReport(EncodeFigures, SharedWork):
    """Outcome of encoding an archive: counts, slides that failed, and timings."""

    joins: ClassVar[Mapping[str, Join]] = {
        "runtime": each_counted,
        "notes": each_once,
        "num_bytes": sum,
        **dict.fromkeys(_BUSY, fmean),
    }

    num_encoded: int = 0
    """Slides encoded by this call, renewed ones among them."""
    num_renewed: int = 0
    """Slides whose older file was replaced, being of another model or input, or broken."""
    num_skipped: int = 0
    """Slides that were done before this call."""
    failed: list[FailedSlide] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    """Files without a single patch, as of slides without tissue; nothing is written for them."""
    other_width: list[str] = field(default_factory=list)
    """Names of slides encoded by this call whose patches are of another width in µm than those that
    the model was trained on."""
    taken: list[Path] = field(default_factory=list)
    """Files that another process was at work on as this call ended."""
    num_patches: int = 0
    readers: int = 2
    total_s: float = 0.0

    def take(self, figures: EncodeFigures) -> None:
        """Take the figures of the one process that worked, beside those it has had before."""
        self.runtime, self.notes = figures.runtime, figures.notes
        for name in ("num_bytes", "encode_s", *_BUSY):
            setattr(self, name, getattr(self, name) + getattr(figures, name))

    @property
    def slides_per_s(self) -> float:
        """Return the slides encoded per second."""
        return self.num_encoded / self.encode_s if self.encode_s else 0.0

    @property
    def patches_per_s(self) -> float:
        """Return the patches encoded per second."""
        return self.num_patches / self.encode_s if self.encode_s else 0.0

    @property
    def gb_per_s(self) -> float:
        """Return the features read per second, in 10^9 bytes."""
        return self.num_bytes / self.encode_s / 1e9 if self.encode_s else 0.0

    def shares(self) -> dict[str, float]:
        """Return the share of the time in which each part was busy.

        Parts overlap, except for compute and idle.
        """
        parts = {
            "read": self.read_s,
            "copy": self.copy_s,
            "compute": self.compute_s,
            "write": self.write_s,
            "idle": self.idle_s,
        }
        return {name: seconds / (self.encode_s or 1.0) for name, seconds in parts.items()}
