"""Options of `encode`: what is encoded, how, by whom, and what is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tcssa.crew.dispatcher import Crew
from tcssa.jobs.watch import Watch
from tcssa_runtimes.archive.archive_kind import ArchiveKind
from tcssa_runtimes.archive.case_files import CaseFiles
from tcssa_runtimes.archive.how_to_encode import HowToEncode
from tcssa_runtimes.archive.inputs import Shard
from tcssa_runtimes.archive.shared_job import ModelChoice


@dataclass(frozen=True)
class EncodeWorkers:
    """Workers that share the slides of an archive."""

    crew: Crew
    model: ModelChoice
    """How each of them opens the model."""


@dataclass(frozen=True)
class EncodeOptions:
    """Options of `tcssa_runtimes.archive.encode.encode`."""

    manifest: Path | None = None
    """A table of more feature files."""
    shard: Shard | None = None
    """The part of the archive to encode, whose number is in its tables' names; None encodes all."""
    memory_mb: int = 2048
    """Memory that features may take, in 10^6 bytes; workers divide it."""
    readers: int = 2
    """Number of threads that read."""
    assignments: bool = False
    """Keep the slots of each patch; slides that are done without are encoded again."""
    overwrite: bool = False
    """Encode slides again that are done already."""
    to: ArchiveKind = "hdf5"
    """What to write: a file a slide, or Parquet parts of many (`archive.slot_parts`)."""
    workers: EncodeWorkers | None = None
    """Workers that share the slides; None works in this process alone."""
    cases: CaseFiles | None = None
    """Patients whose slides' files are merged too, and told what became of these."""
    watch: Watch = field(default_factory=Watch)
    """Told of each slide that ends, for programs outside."""

    def how(self, out: Path) -> HowToEncode:
        """Return how one process encodes into an archive's folder."""
        number = 1 if self.workers is None else self.workers.crew.num_workers
        memory_bytes = self.memory_mb * 1_000_000 // number
        return HowToEncode(
            out,
            memory_bytes,
            self.readers,
            assignments=self.assignments,
            to=self.to,
            overwrite=self.overwrite,
        )
