"""The encoding of an archive that several workers share, as each of them does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tcssa.budgets import Budget
from tcssa.crew.member import Job
from tcssa.features import BagRef
from tcssa.jobs.watch import SlideEvent
from tcssa.reporter import Reporter
from tcssa_runtimes.archive.archive_index import FailedSlide
from tcssa_runtimes.archive.encode_loop import (
    EncodeFigures,
    SlideOutcome,
    encode_bags,
    event_of,
)
from tcssa_runtimes.archive.how_to_encode import HowToEncode
from tcssa_runtimes.backends.open_runtime import Device, RuntimeName, open_runtime
from tcssa_runtimes.contract.base import Runtime


@dataclass(frozen=True)
class ModelChoice:
    """A model and what runs it, as a worker opens it on its own device."""

    model: Path
    runtime: RuntimeName = "auto"
    allow_cpu: bool = False
    budget: Budget | None = None

    def open(self, device: Device) -> Runtime:
        """Return the runtime; entering it allocates.

        Args:
            device: Device that it computes on.

        Raises:
            UsageError: The runtime cannot run this model, or not on this device.
        """
        runtime = open_runtime(self.model, self.runtime, device, allow_cpu=self.allow_cpu)
        runtime.set_budget(self.budget)
        return runtime


@dataclass(frozen=True)
class EncodeJob(Job[BagRef, SlideOutcome]):
    """Bags to files of slots."""

    asks_for: ClassVar[int] = 8
    model: ModelChoice
    device: Device
    how: HowToEncode

    def work(
        self,
        items: Iterator[BagRef],
        done: Callable[[str, SlideOutcome], None],
        reporter: Reporter,
    ) -> EncodeFigures:
        """See `tcssa.crew.member.Job.work`."""
        with self.model.open(self.device) as runtime:
            for note in runtime.notes:
                reporter.warn(note)
            return encode_bags(
                items, runtime, self.how, lambda bag, outcome: done(bag.slide_id, outcome)
            )

    def lost(self, item: BagRef, reason: str) -> FailedSlide:
        """See `tcssa.crew.member.Job.lost`."""
        return FailedSlide(item.address, reason, "encode it alone to see why")

    def event(self, slide_id: str, row: SlideOutcome) -> SlideEvent:
        """See `tcssa.crew.member.Job.event`."""
        return event_of(slide_id, row)
