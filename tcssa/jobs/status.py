"""Status of a job over many slides, read from its folder by any machine that sees it.

Nothing is asked of the processes that work: what is done is a file with its name, what is in work
has a lock, and the rate follows from the times of the files. Nothing is written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tcssa.errors import FeatureFileError, MissingDataError
from tcssa.files.boundary import reading
from tcssa.files.forwarding import content
from tcssa.files.locks import Held
from tcssa.files.table import read_table
from tcssa.files.work_locks import held_locks
from tcssa.jobs.record import JobRecord, find_records
from tcssa.optional import require

RECENT_S = 600.0
"""The rate is that of so many last seconds."""
_RESULT = ".h5"
_PART = ".parquet"
"""A file of many slides (`tcssa encode --to parquet`)."""
_FAILURES = ("failures.csv", "failed*.csv")


@dataclass(frozen=True)
class JobStatus:
    """What is done of a job, and what is not."""

    command: str
    results: Path
    """Folder of the slides that are done."""
    num_slides: int
    """Slides that the job's last call was given, those done before among them."""
    num_done: int
    failed: Mapping[str, str]
    """Reasons why slides failed that are not done since, by the name of the slide or its file."""
    in_work: list[Held]
    slides_per_s: float
    """Slides that became done a second, of late."""
    last_s: float | None
    """Seconds since a slide became done; None where none is."""

    @property
    def num_left(self) -> int | None:
        """Slides that are neither done nor failed; None if more are done than the record knows."""
        left = self.num_slides - self.num_done - len(self.failed)
        return left if left >= 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Time that the slides left take at this rate; None if that cannot be said."""
        if self.num_left is None or (self.num_left and not self.slides_per_s):
            return None
        return self.num_left / self.slides_per_s if self.num_left else 0.0


def job_status(job: Path) -> list[JobStatus]:
    """Read the status of a job, or of each where a folder holds several, as for two encoders.

    Args:
        job: Folder that ``tcssa extract`` or ``tcssa encode`` was given as ``--out``.

    Raises:
        MissingDataError: There is no such folder, or it has no record of a job.
        FileError: A record or a table of failures is damaged.
    """
    records = list(find_records(job))
    if not records:
        raise MissingDataError(
            f"{job}: no job of tcssa extract or encode is here (no job.json)",
            hint="give the folder of its --out; a job of an older version has it once given again",
        )
    failures = _failures(job)
    return [_status(folder, record, failures) for folder, record in records]


def _status(folder: Path, record: JobRecord, failures: Mapping[str, str]) -> JobStatus:
    results = Path(os.path.normpath(folder / record.results))
    times = _times(results)
    now, newest = time.time(), max(times.values(), default=None)
    return JobStatus(
        command=record.command,
        results=results,
        num_slides=record.num_slides,
        num_done=len(times),
        failed={name: why for name, why in failures.items() if name not in times},
        in_work=[lock for lock in held_locks(folder) if lock.name not in times],
        slides_per_s=_rate([each for each in times.values() if each > now - RECENT_S], now),
        last_s=None if newest is None else max(0.0, now - newest),
    )


def _times(folder: Path) -> dict[str, float]:
    """Return when each slide became done; hidden files are not whole yet."""
    times: dict[str, float] = {}
    if not folder.is_dir():
        return times
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.name.endswith(_RESULT):
                times[entry.name.removesuffix(_RESULT)] = entry.stat().st_mtime
            elif entry.name.endswith(_PART):
                times |= dict.fromkeys(_slides_of(Path(entry.path)), entry.stat().st_mtime)
    return times


def _slides_of(part: Path) -> list[str]:
    """Read the names of the slides in a Parquet part."""
    parquet = require("pyarrow.parquet", "parquet")
    with reading(part, FeatureFileError):
        names: list[str] = parquet.read_table(content(part), columns=["slide_id"])[
            "slide_id"
        ].to_pylist()
    return names


def _rate(recent: list[float], now: float) -> float:
    """Return files a second since the first of the recent ones, which may be the very first."""
    return (len(recent) - 1) / max(now - min(recent), 1.0) if len(recent) > 1 else 0.0


def _failures(job: Path) -> dict[str, str]:
    """Read the tables of failed slides, by slide, or by the name of the file that failed."""
    reasons = {}
    for path in sorted(path for pattern in _FAILURES for path in job.glob(pattern)):
        table = read_table(path, needed=("path", "reason"), delimiter=",", multiline=True)
        for row in table.rows.values():
            reasons[row.get("slide_id") or Path(row["path"]).stem] = row["reason"]
    return reasons
