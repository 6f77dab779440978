"""Encoding an archive: feature files in, a file of slots for each slide and an index out.

Slides are read by several threads (`tcssa_runtimes.archive.reader_pool`), their chunks packed into
full launches (`tcssa_runtimes.archive.launch_scheduler`), and the results written by other threads.
A slide that cannot be encoded is recorded with the reason, and the others go on. Running the same
command again does the rest: a slide is done when its file says that it was made by this model from
this very content.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tcssa.errors import FileError, TcssaError
from tcssa.features import BagRef, open_bag
from tcssa.files import atomic
from tcssa.reporter import Reporter, Silent, Task
from tcssa_runtimes.archive.archive_index import FailedSlide, write_failures, write_index
from tcssa_runtimes.archive.inputs import Shard, archive
from tcssa_runtimes.archive.launch_scheduler import Empty, Encoded, Failed, Packer
from tcssa_runtimes.archive.reader_pool import ReaderPool
from tcssa_runtimes.archive.slot_files import (
    FOLDER,
    EncodedFacts,
    Origin,
    read_facts,
    slide_features_path,
    write_slide_features,
)
from tcssa_runtimes.archive.writer_pool import Background
from tcssa_runtimes.contract.base import Runtime
from tcssa_runtimes.contract.checks import require_own_slots

_WRITERS = 4
"""Threads that write; several, since each spends most of its time waiting for the disk."""


@dataclass
class EncodeReport:
    """Outcome of encoding an archive: counts, slides that failed, and timings."""

    runtime: str
    """Backend and device that really ran the model."""
    num_encoded: int = 0
    """Slides encoded by this call, renewed ones among them."""
    num_renewed: int = 0
    """Slides whose older file was replaced, being of another model or input, or broken."""
    num_skipped: int = 0
    """Slides that were done before this call."""
    failed: list[FailedSlide] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    """Files without a single patch, as of slides without tissue; nothing is written for them."""
    notes: list[str] = field(default_factory=list)
    """Remarks on how the model ran, such as an allowed fallback to the CPU."""
    num_patches: int = 0
    num_bytes: int = 0
    """Bytes of the features read, as they are stored."""
    readers: int = 2
    total_s: float = 0.0
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


def encode(
    bags: Iterable[Path],
    out: Path,
    runtime: Runtime,
    reporter: Reporter | None = None,
    *,
    manifest: Path | None = None,
    shard: Shard | None = None,
    memory_mb: int = 2048,
    readers: int = 2,
    assignments: bool = False,
    overwrite: bool = False,
) -> EncodeReport:
    """Encode feature files into ``OUT/slide_features_tcssa/S.h5``; ``OUT/index.csv`` lists them.

    Args:
        bags: Feature files, folders of them, and patterns; see
            `tcssa_runtimes.archive.inputs.archive`.
        out: The output folder.
        runtime: The model, as `open_runtime` returns it; it is entered only if there is work.
        reporter: Told of progress and of slides that fail.
        manifest: A table of more feature files.
        shard: The part of the archive to encode, whose number is in its tables' names; None
            encodes all.
        memory_mb: Memory that features may take, in 10^6 bytes.
        readers: Number of threads that read.
        assignments: Keep the slots of each patch; slides that are done without are encoded again.
        overwrite: Encode slides again that are done already.

    Raises:
        MissingDataError: A path does not exist, or a folder holds no feature file.
        TableError: The manifest is faulty.
        UsageError: No input was given, two of the files are of the same slide, the memory is too
            small, or the model is an ensemble.
        DeviceError: The runtime's device is not available.
        DiskFullError: There is no space left; finished slides are kept.
    """
    begin = time.perf_counter()
    reporter = reporter or Silent()
    require_own_slots(runtime.facts)
    report = EncodeReport(runtime.name, readers=readers)
    refs = archive(bags, manifest)
    if shard is not None:
        refs = shard.of(refs)
    atomic.discard_leftovers(out / FOLDER)
    atomic.discard_leftovers(out)
    rows = {} if overwrite else _find_done(refs, out, runtime, assignments=assignments)
    to_do = [ref for ref in refs if ref not in rows]
    report.num_skipped = len(rows)
    if to_do:
        with runtime:
            for note in runtime.notes:
                reporter.warn(note)
            report.runtime, report.notes = runtime.name, list(runtime.notes)
            run = _Run(to_do, out, runtime, reporter, report, assignments)
            rows |= run.encode_all(memory_mb * 1_000_000)
    suffix = "" if shard is None else shard.suffix
    write_index(out / f"index{suffix}.csv", rows.values())
    write_failures(out / f"failed{suffix}.csv", report.failed)
    report.total_s = time.perf_counter() - begin
    return report


@dataclass
class _Run:
    """The work of one call of `encode`."""

    bags: Sequence[BagRef]
    out: Path
    runtime: Runtime
    reporter: Reporter
    report: EncodeReport
    assignments: bool
    _written: dict[BagRef, EncodedFacts] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Guards the rows and the counts of the report, which several writers add to."""

    def encode_all(self, memory_bytes: int) -> dict[BagRef, EncodedFacts]:
        """Encode the bags; return the index row of each that was encoded."""
        begin = time.perf_counter()
        report = self.report
        with (
            self.reporter.task("encode", total=len(self.bags), unit="slides") as task,
            Background(_WRITERS) as writers,
            ReaderPool(self.bags, self.runtime, memory_bytes, report.readers) as pool,
        ):
            packer = Packer(self.runtime, pool)
            for outcome in packer.outcomes():
                match outcome:
                    case Encoded():
                        writers.do(partial(self._write, outcome, task))
                    case Failed(index, error):
                        self._fail(self.bags[index].address, error)
                        task.advance()
                    case Empty(index):
                        empty = self.bags[index].address
                        report.empty.append(empty)
                        self.reporter.warn(f"{empty.name} holds no patches and has no slots")
                        task.advance()
        report.failed.sort(key=lambda slide: slide.path)
        report.empty.sort()
        report.encode_s = time.perf_counter() - begin
        report.num_bytes = pool.num_bytes
        report.read_s, report.copy_s = pool.read_s / report.readers, pool.prepare_s / report.readers
        report.compute_s, report.idle_s = packer.compute_s, packer.idle_s
        report.write_s = writers.busy_s / _WRITERS
        return self._written

    def _write(self, done: Encoded, task: Task) -> None:
        header, facts = done.header, self.runtime.facts
        target = slide_features_path(self.out, header.bag.slide_id)
        was_there = target.exists()
        row = write_slide_features(
            target,
            done.slide,
            origin=Origin.of(header.bag, header.stat, facts.sha256, done.input_hash),
            positions=header.positions,
            encoder=header.encoder or facts.encoder,
            runtime=self.runtime.name,
            classes=facts.classes,
            budget=self.runtime.budget,
            assignments=header.frame if self.assignments else None,
            more=header.extent if self.assignments else None,
        )
        with self._lock:
            self._written[header.bag] = row
            self.report.num_renewed += was_there
            self.report.num_encoded += 1
            self.report.num_patches += done.slide.num_patches
            task.advance()

    def _fail(self, path: Path, error: TcssaError) -> None:
        reason = error.reason if isinstance(error, FileError) else str(error)
        self.report.failed.append(FailedSlide(path, reason, error.hint))
        self.reporter.warn(f"{path.name} was not encoded: {reason}")


def _find_done(
    bags: Sequence[BagRef], out: Path, runtime: Runtime, *, assignments: bool
) -> dict[BagRef, EncodedFacts]:
    """Read the files of slides that need not be encoded again."""
    done = {}
    for bag in bags:
        facts = read_facts(slide_features_path(out, bag.slide_id))
        try:
            if facts is None or facts.budget != runtime.budget_text:
                continue
            if assignments and not facts.has_assignments:
                continue
            if facts.origin.is_of(bag, runtime.facts.sha256) and (
                not runtime.facts.spatial or facts.um_per_coord == _um_per_coord(bag)
            ):
                done[bag] = facts
        except (OSError, FileError):  # reading it again will report what is wrong
            continue
    return done


def _um_per_coord(ref: BagRef) -> float | None:
    """Read the microns per unit of a slide's coordinates, which its content's hash leaves out."""
    with open_bag(ref) as bag:
        return bag.um_per_coord
