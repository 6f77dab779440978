"""Settings by which the bags of an archive are encoded, as they are sent to each worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tcssa_runtimes.archive.archive_kind import ArchiveKind


@dataclass(frozen=True)
class HowToEncode:
    """Settings by which bags are encoded."""

    out: Path
    """The archive's folder."""
    memory_bytes: int
    """Memory that features may take."""
    readers: int
    """Number of threads that read."""
    assignments: bool = False
    """Keep which slots each patch went to."""
    to: ArchiveKind = "hdf5"
    overwrite: bool = False
    """Encode slides that are done."""
    known_parts: frozenset[str] = frozenset()
    """Names of the Parquet parts that were there when the list of slides was made."""
