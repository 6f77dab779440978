"""What an archive is made of: HDF5 files, one a slide, or Parquet parts of many slides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tcssa.errors import TableError, UsageError
from tcssa.files.listing import each_named
from tcssa.reporter import Reporter
from tcssa_runtimes.archive.archive_index import each_indexed
from tcssa_runtimes.archive.slot_files import FOLDER
from tcssa_runtimes.archive.slot_parts import find_parts, read_part_facts
from tcssa_runtimes.archive.stored_slots import EncodedFacts

ArchiveKind = Literal["hdf5", "parquet"]


def kind_of(out: Path) -> ArchiveKind | None:
    """Tell what an archive is made of; None where the folder holds none.

    Raises:
        UsageError: It holds both, and each slide may be there twice.
    """
    parts, file = find_parts(out), next(each_named(out / FOLDER, "", ".h5"), None)
    if parts and file is not None:
        raise UsageError(
            f"{out / FOLDER} holds Parquet parts ({parts[0].name}) and HDF5 files ({file.name})",
            hint="keep one of the two; tcssa convert makes either of the other",
        )
    return "parquet" if parts else None if file is None else "hdf5"


def require_kind(out: Path, to: ArchiveKind, *, assignments: bool = False) -> None:
    """Require that slides can be written to an archive.

    Args:
        out: The archive's folder.
        to: What is to be written.
        assignments: Whether the slots of each patch are to be kept.

    Raises:
        UsageError: The archive is of the other kind or of both, or the parts cannot hold what is
            to be kept.
    """
    if to == "parquet" and assignments:
        raise UsageError(
            "Parquet parts do not hold which slots each patch went to",
            hint="leave --assignments out, or write HDF5 files",
        )
    found = kind_of(out)
    if found not in (None, to):
        raise UsageError(
            f"{out} is an archive of {found}, not of {to}",
            hint=f"give another --out, or: tcssa convert {out} --to {to} --out NEW",
        )


def each_stored(out: Path, to: ArchiveKind, reporter: Reporter) -> Iterator[EncodedFacts]:
    """Yield the facts of an archive's slides, as far as no file is opened for one slide.

    Args:
        out: The archive's folder.
        to: What it is made of.
        reporter: Warned where the index of HDF5 files is of no use.
    """
    if to == "parquet":
        for part in find_parts(out):
            yield from read_part_facts(part)
        return
    try:
        yield from each_indexed(out)
    except TableError as damage:
        reporter.warn(f"{damage}; the files are opened instead")
