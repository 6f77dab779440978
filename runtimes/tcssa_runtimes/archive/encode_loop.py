"""The loop of encoding: bags are read, computed and written as they come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tcssa.errors import FileError, TcssaError, UploadError
from tcssa.features import BagRef
from tcssa.files.locks import Owner
from tcssa.jobs.watch import SlideEvent
from tcssa_runtimes.archive.archive_index import FailedSlide
from tcssa_runtimes.archive.claims import Claims
from tcssa_runtimes.archive.how_to_encode import HowToEncode
from tcssa_runtimes.archive.launch_scheduler import Empty, Encoded, Failed, Packer
from tcssa_runtimes.archive.reader_pool import ReaderPool
from tcssa_runtimes.archive.slot_files import FOLDER, slide_features_path, write_slots
from tcssa_runtimes.archive.slot_parts import SlotParts
from tcssa_runtimes.archive.stored_slots import EncodedFacts, Origin, slots_to_store
from tcssa_runtimes.archive.writer_pool import Background
from tcssa_runtimes.contract.base import Runtime

_WRITERS = 4
"""Threads that write; several, since each spends most of its time waiting for the disk."""


@dataclass(frozen=True)
class WrittenSlide:
    """A slide whose slots were written."""

    bag: BagRef
    facts: EncodedFacts
    is_renewed: bool
    """An older file of another model or input, or a broken one, was replaced."""
    seconds: Mapping[str, float]
    """Seconds from the opened file to its slots, ``encode``, and of writing them, ``write``."""
    patch_um: float | None
    """Width of its patches in µm, where the file states it."""


@dataclass(frozen=True)
class EmptySlide:
    """A file without a single patch."""

    bag: BagRef


@dataclass(frozen=True)
class TakenSlide:
    """A slide that another process has."""

    bag: BagRef
    owner: str


@dataclass(frozen=True)
class DoneSlide:
    """A slide that another process has done since the list of slides was made."""

    bag: BagRef
    facts: EncodedFacts


SlideOutcome = WrittenSlide | EmptySlide | FailedSlide | TakenSlide | DoneSlide


def event_of(slide_id: str, outcome: SlideOutcome) -> SlideEvent:
    """Return what is told of a slide to those who watch the job.

    Args:
        slide_id: The slide's name.
        outcome: What became of it.
    """
    match outcome:
        case WrittenSlide(_, facts, _, seconds, _):
            return SlideEvent(
                slide_id, "done", facts.num_patches, device=facts.runtime, seconds=seconds
            )
        case EmptySlide():
            return SlideEvent(slide_id, "empty")
        case FailedSlide(_, reason):
            return SlideEvent(slide_id, "failed", reason=reason)
        case TakenSlide(_, owner):
            return SlideEvent(slide_id, "taken", reason=f"by {owner}")
        case DoneSlide():
            return SlideEvent(slide_id, "skipped")


@dataclass
class EncodeFigures:
    """Figures of one process's work on an archive."""

    runtime: str
    """Backend and device that really ran the model."""
    notes: list[str] = field(default_factory=list)
    """Remarks on how the model ran, such as an allowed fallback to the CPU."""
    num_bytes: int = 0
    """Bytes of the features read, as they are stored."""
    encode_s: float = 0.0
    """Seconds from the opened model to the last file; rates and shares are relative to them."""
    read_s: float = 0.0
    """Seconds of reading, mean over the readers."""
    copy_s: float = 0.0
    """Seconds of conversion, checks and hashing, mean over the readers."""
    compute_s: float = 0.0
    idle_s: float = 0.0
    """Seconds in which the model waited for features."""
    write_s: float = 0.0
    """Seconds of writing, mean over the writers."""


def encode_bags(
    bags: Iterable[BagRef],
    runtime: Runtime,
    how: HowToEncode,
    on_outcome: Callable[[BagRef, SlideOutcome], None],
) -> EncodeFigures:
    """Encode bags as the iterable gives them, but for those that other processes have.

    Args:
        bags: The feature files.
        runtime: The model, which is open.
        how: Where to, and with what.
        on_outcome: Called with the outcome of each bag, one call at a time.

    Raises:
        UsageError: The memory is too small.
        DiskFullError: There is no space left; finished slides are kept.
    """
    begin = time.perf_counter()
    with (
        Claims(how, runtime) as claims,
        SlotParts(how.out / FOLDER) if how.to == "parquet" else nullcontext() as parts,
        Background(_WRITERS) as writers,
    ):
        writing = _Writing(how, runtime, on_outcome, parts, claims)
        ours = writing.claimed(bags)
        with ReaderPool(ours, runtime, how.memory_bytes, how.readers) as pool:
            packer = Packer(runtime, pool)
            for outcome in packer.outcomes():
                bag = pool.bag(outcome.index)
                match outcome:
                    case Encoded():
                        writers.do(partial(writing.write, outcome))
                    case Failed(_, error):
                        writing.tell(bag, _failed(bag.address, error))
                    case Empty():
                        writing.tell(bag, EmptySlide(bag))
    return EncodeFigures(
        runtime=runtime.name,
        notes=list(runtime.notes),
        num_bytes=pool.num_bytes,
        encode_s=time.perf_counter() - begin,
        read_s=pool.read_s / how.readers,
        copy_s=pool.prepare_s / how.readers,
        compute_s=packer.compute_s,
        idle_s=packer.idle_s,
        write_s=writers.busy_s / _WRITERS,
    )


@dataclass
class _Writing:
    """Writes slides in several threads, and tells of one at a time."""

    how: HowToEncode
    runtime: Runtime
    on_outcome: Callable[[BagRef, SlideOutcome], None]
    parts: SlotParts | None
    """Parts to write to; None writes a file a slide."""
    claims: Claims
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def claimed(self, bags: Iterable[BagRef]) -> Iterator[BagRef]:
        """Yield the bags that this process is to encode, and tell of the others."""

        def taken(bag: BagRef, owner: Owner) -> None:
            self._tell(bag, TakenSlide(bag, str(owner)))

        def done(bag: BagRef, facts: EncodedFacts) -> None:
            self._tell(bag, DoneSlide(bag, facts))

        return self.claims.of(bags, taken, done)

    def write(self, done: Encoded) -> None:
        """Write the slots of a slide."""
        header, facts = done.header, self.runtime.facts
        frame = header.frame if self.how.assignments else None
        target = slide_features_path(self.how.out, header.bag.slide_id)
        was_there = target.exists()
        begin = time.perf_counter()
        slots = slots_to_store(
            target,
            done.slide,
            origin=Origin.of(header.bag, header.stat, facts.sha256, done.input_hash),
            positions=header.positions,
            encoder=header.encoder or facts.encoder,
            runtime=self.runtime.name,
            classes=facts.classes,
            projector_sha256=facts.projector_sha256,
            budget=self.runtime.budget,
            has_assignments=self.how.assignments,
            more=header.extent if self.how.assignments else None,
        )

        def fail(error: UploadError) -> None:
            self.tell(header.bag, _failed(header.bag.address, error))

        def tell(written: EncodedFacts) -> None:
            seconds = {"encode": begin - header.opened, "write": time.perf_counter() - begin}
            self.tell(
                header.bag,
                WrittenSlide(header.bag, written, was_there, seconds, header.patch_um),
            )

        if self.parts is not None:
            self.parts.add(slots, tell, fail)
            return
        routing = done.slide.routing if self.how.assignments else None
        try:
            written = write_slots(slots, routing=routing, frame=frame)
        except UploadError as error:
            fail(error)
        else:
            tell(written)

    def tell(self, bag: BagRef, outcome: SlideOutcome) -> None:
        """Tell of a slide that this process has claimed."""
        self._tell(bag, outcome)
        self.claims.give_back(bag)

    def _tell(self, bag: BagRef, outcome: SlideOutcome) -> None:
        with self._lock:
            self.on_outcome(bag, outcome)


def _failed(path: Path, error: TcssaError) -> FailedSlide:
    reason = error.reason if isinstance(error, FileError) else str(error)
    return FailedSlide(path, reason, error.hint)
