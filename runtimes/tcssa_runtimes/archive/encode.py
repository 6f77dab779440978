"""Encoding an archive: feature files in, a file of slots for each slide and an index out.

Slides are read by several threads (`tcssa_runtimes.archive.reader_pool`), their chunks packed into
full launches (`tcssa_runtimes.archive.launch_scheduler`), and the results written by other threads.
A slide that cannot be encoded is recorded with the reason, and the others go on. Running the same
command again does the rest: a slide is done when its file says that it was made by this model from
this very content.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from tcssa.crew.dispatcher import Dispatcher, Engine, Share
from tcssa.errors import FileError, UsageError
from tcssa.features import BagRef, open_bag
from tcssa.features.remote_features import local_features
from tcssa.files import atomic
from tcssa.jobs.record import write_record
from tcssa.jobs.watch import Watch
from tcssa.reporter import Reporter, Silent
from tcssa_runtimes.archive.archive_index import (
    FailedSlide,
    write_failures,
    write_index,
)
from tcssa_runtimes.archive.archive_kind import ArchiveKind, require_kind, stored_facts
from tcssa_runtimes.archive.case_files import CaseFiles
from tcssa_runtimes.archive.encode_loop import (
    EmptySlide,
    EncodeFigures,
    HowToEncode,
    SlideOutcome,
    WrittenSlide,
    encode_bags,
    event_of,
)
from tcssa_runtimes.archive.inputs import Shard, archive
from tcssa_runtimes.archive.shared_job import EncodeJob, ModelChoice
from tcssa_runtimes.archive.slot_files import FOLDER, read_facts, slide_features_path
from tcssa_runtimes.archive.slot_parts import drop_slides, find_parts, read_part_facts
from tcssa_runtimes.archive.stored_slots import EncodedFacts
from tcssa_runtimes.contract.base import Runtime
from tcssa_runtimes.contract.checks import require_own_slots


@dataclass
class EncodeReport(EncodeFigures):
    """Outcome of encoding an archive: counts, slides that failed, and timings."""

    num_encoded: int = 0
    """Slides encoded by this call, renewed ones among them."""
    num_renewed: int = 0
    """Slides whose older file was replaced, being of another model or input, or broken."""
    num_skipped: int = 0
    """Slides that were done before this call."""
    failed: list[FailedSlide] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    """Files without a single patch, as of slides without tissue; nothing is written for them."""
    num_patches: int = 0
    readers: int = 2
    total_s: float = 0.0
    workers: list[Share] = field(default_factory=list)
    """What each worker did, where several shared the slides."""

    def take(self, figures: EncodeFigures) -> None:
        """Take the figures of the one process that worked."""
        for each in fields(EncodeFigures):
            setattr(self, each.name, getattr(figures, each.name))

    def add_up(self, shares: Sequence[Share], seconds: float) -> None:
        """Take the figures of several workers: sums of their bytes, means of their times.

        Args:
            shares: The workers.
            seconds: From the first start to the last file.
        """
        self.workers, self.encode_s = list(shares), seconds
        ended: list[EncodeFigures] = [share.report for share in shares if share.report is not None]
        if not ended:
            return
        runtimes = Counter(figures.runtime for figures in ended)
        self.runtime = ", ".join(f"{number} x {name}" for name, number in runtimes.items())
        self.notes = list(dict.fromkeys(note for figures in ended for note in figures.notes))
        self.num_bytes = sum(figures.num_bytes for figures in ended)
        for name in ("read_s", "copy_s", "compute_s", "idle_s", "write_s"):
            setattr(self, name, sum(getattr(figures, name) for figures in ended) / len(ended))

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
    engine: Engine | None = None,
    model: ModelChoice | None = None,
    cases: CaseFiles | None = None,
    watch: Watch | None = None,
    to: ArchiveKind = "hdf5",
) -> EncodeReport:
    """Encode feature files into ``OUT/slide_features_tcssa/S.h5``; ``OUT/index.csv`` lists them.

    Args:
        bags: Feature files, folders of them, their addresses, and patterns; see
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
        engine: Starts workers that share the slides; None works in this process alone.
        model: How workers open the model, needed where there are some.
        cases: Patients whose slides' files are merged too, and told what became of these.
        watch: Told of each slide that ends, for programs outside.
        to: What to write: a file a slide, or Parquet parts of many (`archive.slot_parts`).

    Raises:
        MissingDataError: A path does not exist, or a folder holds no feature file.
        TableError: The manifest is faulty.
        UsageError: No input was given, two of the files are of the same slide, the memory is too
            small, the model is an ensemble, patients cannot be merged (see `CaseFiles.plan`), or
            the folder is an archive of the other kind.
        MissingExtraError: Parquet is to be written, and pyarrow is not installed.
        DeviceError: The runtime's device is not available.
        DiskFullError: There is no space left; finished slides are kept.
        ProcessesError: Workers die before they begin.
    """
    begin = time.perf_counter()
    reporter, watch = reporter or Silent(), watch or Watch()
    report = EncodeReport(runtime.name, readers=readers)
    found = archive([local_features(bag, reporter) for bag in bags], manifest)
    refs = _refs(found, shard, cases, runtime, reporter)
    if cases is not None and to == "parquet":
        raise UsageError(
            "patients are merged of files, one a slide, and Parquet parts hold many",
            hint="leave --by case or --to parquet out",
        )
    require_kind(out, to, assignments=assignments)
    # the same of every shard
    write_record(out, "encode", len(found), out / FOLDER)
    atomic.discard_leftovers(out / FOLDER)
    atomic.discard_leftovers(out)
    stored = {} if overwrite else stored_facts(out, to, reporter)
    rows = {} if overwrite else _find_done(refs, stored, out, runtime, assignments=assignments)
    to_do = [ref for ref in refs if ref not in rows]
    report.num_skipped = len(rows)
    if to == "parquet" and to_do:
        report.num_renewed = _make_room(out, to_do, shard)
    how = HowToEncode(out, memory_mb * 1_000_000, readers, assignments=assignments, to=to)
    work = _Work(to_do, how, reporter, report, rows, watch)
    with watch.over("encode", len(refs), len(rows)):
        work.run(runtime, engine, model)
    if cases is not None:
        work.merge(cases, refs, runtime, overwrite=overwrite)
    work.write_tables("" if shard is None else shard.suffix)
    report.total_s = time.perf_counter() - begin
    return report


def _refs(
    refs: list[BagRef],
    shard: Shard | None,
    cases: CaseFiles | None,
    runtime: Runtime,
    reporter: Reporter,
) -> list[BagRef]:
    """Return the files to encode, and plan the merging of their patients.

    Raises:
        UsageError: The model is an ensemble, or patients are to be merged of a shard, or by a model
            that cannot.
    """
    require_own_slots(runtime.facts)
    if cases is None:
        return refs if shard is None else shard.of(refs)
    if shard is not None:
        raise UsageError(
            "a patient's slides may lie in several shards",
            hint="encode all shards, then give the command with --by case and without --shard: "
            "slides that are done are only merged",
        )
    cases.plan([ref.slide_id for ref in refs], runtime, reporter)
    return refs


@dataclass
class _Work:
    """The slides that one call of `encode` has to do, and what becomes of them."""

    bags: Sequence[BagRef]
    how: HowToEncode
    reporter: Reporter
    report: EncodeReport
    rows: dict[BagRef, EncodedFacts]
    watch: Watch

    def run(self, runtime: Runtime, engine: Engine | None, model: ModelChoice | None) -> None:
        """Encode the slides, in the workers of an engine if there is one."""
        if self.bags and engine is None:
            self.alone(runtime)
        elif self.bags and engine is not None:
            assert model is not None, "workers need to know how the model is opened"
            self.shared(engine, model)

    def alone(self, runtime: Runtime) -> None:
        """Encode in this process."""
        with runtime, self.reporter.task("encode", len(self.bags), "slides") as task:
            for note in runtime.notes:
                self.reporter.warn(note)

            def record(bag: BagRef, outcome: SlideOutcome) -> None:
                self._record(outcome)
                self.watch.slide(event_of(bag.slide_id, outcome))
                task.advance()

            self.report.take(encode_bags(self.bags, runtime, self.how, record))
        self._sort()

    def shared(self, engine: Engine, model: ModelChoice) -> None:
        """Encode in the workers of an engine, which divide the memory."""
        begin = time.perf_counter()
        share = replace(self.how, memory_bytes=self.how.memory_bytes // engine.num_workers)
        job = EncodeJob(model, engine.device, share)
        with self.reporter.task("encode", len(self.bags), "slides") as task:
            shares = Dispatcher(
                job, self.bags, engine, self._record, self.reporter, task, self.watch
            ).run()
        self.report.add_up(shares, time.perf_counter() - begin)
        atomic.discard_leftovers(self.how.out / FOLDER)  # of a worker that died
        self._sort()

    def merge(
        self, cases: CaseFiles, refs: Sequence[BagRef], runtime: Runtime, *, overwrite: bool
    ) -> None:
        """Merge the files of the patients' slides, those that were done before among them."""
        encoded = {ref.slide_id: facts for ref, facts in self.rows.items()}
        empty = [ref.slide_id for ref in refs if ref.address in self.report.empty]
        cases.merge(encoded, empty, self.how.out, runtime, self.reporter, overwrite=overwrite)
        self.report.failed += cases.failed

    def write_tables(self, suffix: str) -> None:
        """Write the index and the failures; ``suffix`` says of which shard they are."""
        write_index(self.how.out / f"index{suffix}.csv", self.rows.values())
        write_failures(self.how.out / f"failed{suffix}.csv", self.report.failed)

    def _record(self, outcome: SlideOutcome) -> None:
        report = self.report
        match outcome:
            case WrittenSlide(bag, facts, is_renewed, _):
                self.rows[bag] = facts
                report.num_renewed += is_renewed
                report.num_encoded += 1
                report.num_patches += facts.num_patches
            case EmptySlide(path):
                report.empty.append(path)
                self.reporter.warn(f"{path.name} holds no patches and has no slots")
            case FailedSlide(path, reason):
                report.failed.append(outcome)
                self.reporter.warn(f"{path.name} was not encoded: {reason}")

    def _sort(self) -> None:
        self.report.failed.sort(key=lambda slide: slide.path)
        self.report.empty.sort()


def _make_room(out: Path, bags: Sequence[BagRef], shard: Shard | None) -> int:
    """Take slides that are to be encoded out of the parts; return how many were there.

    Raises:
        UsageError: Other shards may be at work on the same parts.
    """
    names = {bag.slide_id for bag in bags}
    there = [facts for part in find_parts(out) for facts in read_part_facts(part)]
    if shard is None or not any(facts.name in names for facts in there):
        return drop_slides(out, names) if there else 0
    raise UsageError(
        f"{out} holds slides of this shard of another model or input, and shards may not take "
        "them out of parts that they share",
        hint="give another --out, or the command once without --shard",
    )


def _find_done(
    bags: Sequence[BagRef],
    stored: dict[str, EncodedFacts],
    out: Path,
    runtime: Runtime,
    *,
    assignments: bool,
) -> dict[BagRef, EncodedFacts]:
    """Return the slides that need not be encoded again, of those known and of files beside."""
    done = {}
    for bag in bags:
        facts = stored.get(bag.slide_id) or read_facts(slide_features_path(out, bag.slide_id))
        if facts is None or facts.budget != runtime.budget_text:
            continue
        if assignments and not facts.has_assignments:
            continue
        try:
            if _is_of(facts, bag, runtime):
                done[bag] = facts
        except (OSError, FileError):  # reading it again will report what is wrong
            continue
    return done


def _is_of(facts: EncodedFacts, bag: BagRef, runtime: Runtime) -> bool:
    """Tell whether a slide's slots are what this model makes of a bag."""
    if not facts.origin.is_of(bag, runtime.facts.sha256):
        return False
    if not runtime.facts.spatial or facts.origin.is_untouched(bag):
        return True
    with open_bag(bag) as opened:  # the content's hash leaves the scale of its coordinates out
        return facts.um_per_coord == opened.um_per_coord
