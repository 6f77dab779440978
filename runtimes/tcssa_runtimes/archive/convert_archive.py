"""Conversion of an encoded archive: HDF5 files to Parquet parts, and back."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import nullcontext
from pathlib import Path

from tcssa.errors import FeatureFileError, UsageError, counted
from tcssa.features.convert import ConvertReport, NotConverted
from tcssa.files import atomic
from tcssa.reporter import Reporter, Silent
from tcssa_runtimes.archive.archive_index import write_index
from tcssa_runtimes.archive.archive_kind import ArchiveKind, each_stored, require_kind
from tcssa_runtimes.archive.open_archive import Archive, open_archive
from tcssa_runtimes.archive.slot_files import (
    FOLDER,
    require_facts,
    slide_features_path,
    write_slots,
)
from tcssa_runtimes.archive.slot_parts import SlotParts, drop_slides, hdf5_of
from tcssa_runtimes.archive.stored_slots import EncodedFacts, StoredSlots


def convert_archive(
    source: Path,
    to: ArchiveKind,
    out: Path,
    reporter: Reporter | None = None,
    *,
    overwrite: bool = False,
) -> ConvertReport:
    """Write an archive again as what it is not made of; slides that are there are skipped.

    Args:
        source: The archive.
        to: What to write.
        out: The folder to write.
        reporter: Receives the progress, and what Parquet parts do not hold.
        overwrite: Write slides again that are there already.

    Raises:
        MissingDataError: The source holds no encoded slides.
        UsageError: The source is of that kind already, or what is there is of the other one.
        FeatureFileError: A Parquet part is broken.
        DiskFullError: There is no space left; finished slides are kept.
    """
    reporter, report, archive = reporter or Silent(), ConvertReport(), open_archive(source)
    if archive.kind == to:
        raise UsageError(f"{source} is an archive of {to} already")
    require_kind(out, to)
    atomic.discard_leftovers(out / FOLDER)
    if to == "parquet" and overwrite:
        drop_slides(out, archive.slide_ids)
    rows = {} if overwrite else _done(archive, to, out, reporter)
    report.num_skipped = len(rows.keys() & set(archive.slide_ids))
    poorer: list[str] = []
    with (
        SlotParts(out / FOLDER) if to == "parquet" else nullcontext() as parts,
        reporter.task(f"converting to {to}", len(archive) - report.num_skipped, "slides") as task,
    ):
        for slots in _slides(archive, set(rows), report):
            if parts is None:
                rows[slots.facts.name] = write_slots(hdf5_of(slots, out))
            else:
                parts.add(slots, lambda facts: rows.update({facts.name: facts}))
                if slots.facts.has_assignments or slots.attributes["features"].get("n_failed"):
                    poorer.append(slots.facts.name)
            report.num_converted += 1
            report.num_patches += slots.facts.num_patches
            task.advance()
    if poorer:
        reporter.warn(
            f"Parquet parts do not hold the slots of single patches, nor corners of those that "
            f"could not be read: {counted(len(poorer), 'slide')} lost them, such as {poorer[0]}"
        )
    write_index(out / "index.csv", rows.values())
    return report


def _done(
    archive: Archive, to: ArchiveKind, out: Path, reporter: Reporter
) -> dict[str, EncodedFacts]:
    rows = {facts.name: facts for facts in each_stored(out, to, reporter)}
    for slide_id in archive.slide_ids:
        path = slide_features_path(out, slide_id)
        if slide_id not in rows and path.is_file():
            rows[slide_id] = require_facts(path)
    return rows


def _slides(archive: Archive, done: Container[str], report: ConvertReport) -> Iterator[StoredSlots]:
    """Yield the slides that are to be converted; broken HDF5 files are noted."""
    left = [slide_id for slide_id in archive.slide_ids if slide_id not in done]
    if archive.kind == "parquet":
        wanted = set(left)
        yield from (slots for slots in archive if slots.facts.name in wanted)
        return
    for slide_id in left:
        try:
            yield archive[slide_id]
        except FeatureFileError as fault:
            report.failed.append(NotConverted(fault.path, fault.reason, fault.hint))
