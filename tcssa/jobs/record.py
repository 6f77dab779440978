"""The record of a job over many slides: how many there are, and where their results go.

It lies in a folder of results as ``job.json``. Its bytes follow from what a call was given, so
processes that share a job write the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from tcssa.errors import FileError
from tcssa.files import atomic
from tcssa.files.text import read_model

_FILE = "job.json"
_DEPTHS = (".", "*", "*/*")
"""Where records lie in the folder that a person names: the archive's, or the extraction's."""


class JobRecord(BaseModel):
    """A job, as its last call was given it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    command: str
    num_slides: NonNegativeInt
    results: str
    """Folder where a file ``S.h5`` says that slide S is done, from the record's own."""


def write_record(folder: Path, command: str, num_slides: int, results: Path) -> None:
    """Write the record of a job.

    Args:
        folder: Folder that the record lies in.
        command: Command that does the job.
        num_slides: Slides of the whole job, those that are done among them.
        results: Folder of the slides' files.
    """
    record = JobRecord(
        command=command,
        num_slides=num_slides,
        results=Path(os.path.relpath(results, folder)).as_posix(),
    )
    path, text = folder / _FILE, json.dumps(record.model_dump(), indent=1) + "\n"
    if not path.is_file() or path.read_bytes() != text.encode():
        atomic.write_text(path, text)


def find_records(job: Path) -> Iterator[tuple[Path, JobRecord]]:
    """Yield the records in a job's folder, each with the folder that it lies in.

    Raises:
        FileError: A record is damaged.
    """
    for depth in _DEPTHS:
        for path in sorted(job.glob(f"{depth}/{_FILE}")):
            yield path.parent, read_model(path, FileError, JobRecord)
