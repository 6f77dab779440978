"""Encoding an archive: feature files in, a file of slots for each slide and an index out.

Slides are read by several threads (`tcssa_runtimes.archive.reader_pool`), their chunks packed into
full launches (`tcssa_runtimes.archive.launch_scheduler`), and the results written by other threads.
A slide that cannot be encoded is recorded with the reason, and the others go on. Running the same
command again does the rest: a slide is done when its file says that it was made by this model from
this very content.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tcssa.crew.dispatcher import Dispatcher
from tcssa.crew.left_behind import LeftBehind
from tcssa.errors import UsageError, counted
from tcssa.features import BagRef
from tcssa.features.patch_widths import is_other_width, width_warning
from tcssa.features.remote_features import local_features
from tcssa.files import atomic
from tcssa.files.forwarding import look_again
from tcssa.files.work_locks import in_turn
from tcssa.jobs.record import write_record
from tcssa.reporter import Reporter, Silent, Task
from tcssa_runtimes.archive.archive_index import FailedSlide, IndexRows, write_failures
from tcssa_runtimes.archive.archive_kind import each_stored, require_kind
from tcssa_runtimes.archive.case_files import CaseFiles
from tcssa_runtimes.archive.done_slides import DoneSince, facts_in_file, is_done
from tcssa_runtimes.archive.encode_loop import (
    DoneSlide,
    EmptySlide,
    SlideOutcome,
    TakenSlide,
    WrittenSlide,
    encode_bags,
    event_of,
)
from tcssa_runtimes.archive.encode_options import EncodeOptions, EncodeWorkers
from tcssa_runtimes.archive.encode_report import EncodeReport
from tcssa_runtimes.archive.how_to_encode import HowToEncode
from tcssa_runtimes.archive.inputs import Shard, archive
from tcssa_runtimes.archive.shared_job import EncodeJob
from tcssa_runtimes.archive.slot_files import FOLDER
from tcssa_runtimes.archive.slot_parts import drop_slides, find_parts
from tcssa_runtimes.contract.base import Runtime
from tcssa_runtimes.contract.checks import require_own_slots


def encode(
    bags: Iterable[Path],
    out: Path,
    runtime: Runtime,
    reporter: Reporter | None = None,
    options: EncodeOptions | None = None,
) -> EncodeReport:
    """Encode feature files into ``OUT/slide_features_tcssa/S.h5``; ``OUT/index.csv`` lists them.

    Args:
        bags: Feature files, folders of them, their addresses, and patterns; see
            `tcssa_runtimes.archive.inputs.archive`.
        out: The output folder.
        runtime: The model, as `open_runtime` returns it; it is entered only if there is work.
        reporter: Told of progress and of slides that fail.
        options: What is encoded, how, by whom, and what is written; None takes the defaults.

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
    reporter, options = reporter or Silent(), options or EncodeOptions()
    refs = archive([local_features(bag, reporter) for bag in bags], options.manifest)
    num_found, refs = len(refs), _refs(refs, options, runtime, reporter)
    work = _Work(
        options.how(out),
        options,
        runtime,
        reporter,
        EncodeReport(runtime.name, readers=options.readers),
        LeftBehind(out, reporter),
    )
    require_kind(out, options.to, assignments=options.assignments)
    # the same of every shard
    write_record(out, "encode", num_found, out / FOLDER)
    atomic.discard_leftovers(out / FOLDER)
    atomic.discard_leftovers(out)
    num_refs, to_do = len(refs), work.take_out_done(refs)
    del refs  # what is done takes no memory
    with options.watch.over("encode", num_refs, len(work.rows)):
        while to_do:
            to_do = work.over(to_do)
    work.warn_of_widths()
    if options.cases is not None:
        work.merge(options.cases)
    work.write_tables()
    work.report.total_s = time.perf_counter() - begin
    return work.report


def _refs(
    refs: dict[str, BagRef], options: EncodeOptions, runtime: Runtime, reporter: Reporter
) -> dict[str, BagRef]:
    """Return the files to encode, and plan the merging of their patients.

    Raises:
        UsageError: The model is an ensemble, or patients are to be merged of a shard, of Parquet
            parts, or by a model that cannot.
    """
    require_own_slots(runtime.facts)
    if options.cases is None:
        return refs if options.shard is None else options.shard.of(refs)
    if options.shard is not None:
        raise UsageError(
            "a patient's slides may lie in several shards",
            hint="encode all shards, then give the command with --by case and without --shard: "
            "slides that are done are only merged",
        )
    options.cases.plan(list(refs), runtime, reporter)
    if options.to == "parquet":
        raise UsageError(
            "patients are merged of files, one a slide, and Parquet parts hold many",
            hint="leave --by case or --to parquet out",
        )
    return refs


@dataclass
class _Work:
    """The slides that one call of `encode` was given, and what becomes of them."""

    how: HowToEncode
    options: EncodeOptions
    runtime: Runtime
    reporter: Reporter
    report: EncodeReport
    left_behind: LeftBehind
    rows: IndexRows = field(default_factory=IndexRows)
    taken: dict[Path, BagRef] = field(default_factory=dict)
    """Slides that other processes had, by their addresses."""
    empty: list[str] = field(default_factory=list)
    """Names of slides without a patch."""
    is_any_twice: bool = False
    """Whether a slide that is done stands in the parts twice, as calls that overlap leave it."""

    def take_out_done(self, refs: dict[str, BagRef]) -> list[BagRef]:
        """Return the slides that are to be encoded, and make room for them.

        Args:
            refs: All slides by name; those that are done are taken out.
        """
        if self.options.to == "hdf5":
            self._take_out_done(refs)
            return list(refs.values())
        with in_turn(self.how.out / FOLDER, "parts", self.reporter.note):
            look_again(self.how.out / FOLDER)
            parts = frozenset(path.name for path in find_parts(self.how.out))
            self.how = replace(self.how, known_parts=parts)
            stale = self._take_out_done(refs)
            if refs:
                self.report.num_renewed = _make_room(self.how.out, stale, self.options.shard)
            elif self.is_any_twice and self.options.shard is None:
                dropped = counted(drop_slides(self.how.out, ()), "row")
                self.reporter.note(f"{dropped} of slides that stood twice taken out")
        return list(refs.values())

    def _take_out_done(self, refs: dict[str, BagRef]) -> set[str]:
        """Take the slides that are done out; return those that are there and not done."""
        stale, how, runtime = set[str](), self.how, self.runtime
        for facts in each_stored(how.out, how.to, self.reporter):
            bag = refs.get(facts.name)
            if bag is None and facts.name in self.rows:
                self.is_any_twice = True
            if bag is None or facts.name in stale:  # all rows of a stale slide are taken out
                continue
            if how.overwrite or not is_done(bag, facts, how, runtime):
                stale.add(facts.name)
            elif self.rows.add(facts):
                del refs[facts.name]
        if not how.overwrite:  # the index may lack some, as after a kill
            for name, bag in list(refs.items()):
                facts_there = None if name in stale else facts_in_file(bag, how)
                if facts_there is None or not is_done(bag, facts_there, how, runtime):
                    continue
                if self.rows.add(facts_there):
                    del refs[name]
        self.report.num_skipped = len(self.rows)
        return stale

    def over(self, bags: Sequence[BagRef]) -> list[BagRef]:
        """Encode slides; return those that another process had and left undone."""
        workers = self.options.workers
        with self.reporter.task("encode", len(bags), "slides") as task:
            if workers is None:
                self._alone(bags, task)
            else:
                self._shared(bags, task, workers)
        self.report.failed.sort(key=lambda slide: slide.path)
        self.report.empty.sort()
        left = self._left_behind(bags)
        self.report.taken = sorted(self.taken)
        return left

    def _left_behind(self, bags: Sequence[BagRef]) -> list[BagRef]:
        """Return slides that another process had, has no more, and left undone: it died."""
        taken = {bag.slide_id for bag in self.taken.values()}
        if self.options.overwrite:  # those of others were done since, for all that can be told
            taken &= self.left_behind.deaths.keys()
        gone = self.left_behind.among(bags, taken)
        done = DoneSince(self.how, self.runtime).among(gone)
        for bag in gone:
            del self.taken[bag.address]
        for bag, facts in done.items():
            self._record(DoneSlide(bag, facts))
        left = [bag for bag in gone if bag not in done]
        if left:
            self.reporter.note(f"{counted(len(left), 'slide')} that another process left undone")
        return left

    def _alone(self, bags: Sequence[BagRef], task: Task) -> None:
        def record(bag: BagRef, outcome: SlideOutcome) -> None:
            self._record(outcome)
            self.options.watch.slide(event_of(bag.slide_id, outcome))
            task.advance()

        with self.runtime as runtime:
            for note in runtime.notes:
                self.reporter.warn(note)
            self.report.take(encode_bags(bags, runtime, self.how, record))

    def _shared(self, bags: Sequence[BagRef], task: Task, workers: EncodeWorkers) -> None:
        begin = time.perf_counter()
        job = EncodeJob(workers.model, workers.crew.device, self.how)
        told = (self.reporter, task, self.options.watch, self.left_behind.deaths)
        self.report.add_up(Dispatcher(job, bags, workers.crew, self._record, *told).run())
        self.report.encode_s += time.perf_counter() - begin
        atomic.discard_leftovers(self.how.out / FOLDER)  # of a worker that died

    def merge(self, cases: CaseFiles) -> None:
        """Merge the files of the patients' slides, those that were done before among them."""
        out, again = self.how.out, self.options.overwrite
        with in_turn(out / FOLDER, "cases", self.reporter.note):
            self._add_done_by_others()
            cases.merge(
                self.rows.facts(out),
                self.empty,
                out,
                self.runtime,
                self.reporter,
                taken={bag.slide_id for bag in self.taken.values()},
                overwrite=again,
            )
        self.report.failed += cases.failed

    def write_tables(self) -> None:
        """Write the index and the failures; their names say of which shard they are."""
        out, shard = self.how.out, self.options.shard
        suffix = "" if shard is None else shard.suffix
        with in_turn(out / FOLDER, "index", self.reporter.note):
            self._add_done_by_others()
            look_again(out, [f"failed{suffix}.csv"])
            self.rows.write(out / f"index{suffix}.csv")
            write_failures(out / f"failed{suffix}.csv", self.report.failed, self.taken)

    def warn_of_widths(self) -> None:
        """Warn of slides whose patches were of another width than those of training."""
        others, looked_at = self.report.other_width, self.report.num_encoded
        own = self.runtime.facts.extraction.patch_um
        so = "their slots may mean little"
        if warning := width_warning(own, others, looked_at, "the model", so):
            self.reporter.warn(warning)

    def _add_done_by_others(self) -> None:
        """Add the slides that others had and have done: whoever ends last so lists all."""
        since = DoneSince(replace(self.how, overwrite=False), self.runtime)
        for facts in since.among(self.taken.values()).values():
            self.rows.add(facts)

    def _record(self, outcome: SlideOutcome) -> None:
        report = self.report
        match outcome:
            case WrittenSlide(_, facts, is_renewed, _, patch_um):
                if is_other_width(patch_um, self.runtime.facts.extraction.patch_um):
                    report.other_width.append(facts.name)
                self.rows.add(facts)
                report.num_renewed += is_renewed
                report.num_encoded += 1
                report.num_patches += facts.num_patches
            case EmptySlide(bag):
                self.empty.append(bag.slide_id)
                report.empty.append(bag.address)
                self.reporter.warn(f"{bag.address.name} holds no patches and has no slots")
            case TakenSlide(bag, _):
                self.taken[bag.address] = bag
            case DoneSlide(bag, facts):
                if self.rows.add(facts):
                    report.num_skipped += 1
                else:  # whoever removed it makes it again
                    self.taken[bag.address] = bag
            case FailedSlide(path, reason):
                report.failed.append(outcome)
                self.reporter.warn(f"{path.name} was not encoded: {reason}")


def _make_room(out: Path, stale: set[str], shard: Shard | None) -> int:
    """Take slides that are to be encoded again out of the parts; return how many were there.

    Raises:
        UsageError: Other shards may be at work on the same parts.
    """
    if shard is None or not stale:
        return drop_slides(out, stale)
    raise UsageError(
        f"{out} holds slides of this shard of another model or input, and shards may not take "
        "them out of parts that they share",
        hint="give another --out, or the command once without --shard",
    )
