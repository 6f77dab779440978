"""Another system's answers, scored as our own are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcssa.vqa.conversation import Question
from tcssa.vqa.metrics import Record


@dataclass(frozen=True)
class Predictions:
    """The answers of a file, set beside a benchmark's questions."""

    path: Path
    sha256: str
    records: list[Record]
    """One for each question with options, in their order."""
    texts: dict[str, str]
    """What was answered, by row_id; open questions included."""
    unknown: list[str] = field(default_factory=list)
    """Ids in the file that the benchmark does not have."""
    missing: list[str] = field(default_factory=list)
    """Ids of the benchmark that the file does not have; they count as wrong."""
    repeated: list[str] = field(default_factory=list)
    """Ids that stand there several times with the same answer; it counts once."""
    contradictory: list[str] = field(default_factory=list)
    """Ids that stand there with different answers; they count as invalid."""


def read_predictions(path: Path, questions: Sequence[Question]) -> Predictions:
    """Read answers (JSONL, or CSV with a header) to a benchmark's questions.

    Raises:
        TableError: The file cannot be read, rows are malformed, or no id is known.
    """
    raise NotImplementedError
