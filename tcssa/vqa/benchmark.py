"""Benchmarks of slide question answering: which there are, and reading one.

Figures of different versions of a benchmark are mixed in the literature, so a benchmark says
which it is: the SHA-256 of its file, its number of rows, and the version that this number tells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tcssa.vqa.conversation import Question
from tcssa.vqa.faults import Fault

Kind = Literal["slidebench-tcga", "slidebench-bcnb", "wsi-vqa"]


@dataclass(frozen=True)
class Benchmark:
    """The questions of a benchmark, and what is wrong with its other rows."""

    kind: Kind
    path: Path
    sha256: str
    version: str
    """``7,827 rows`` where the number of rows is a known one, else ``other: N rows``."""
    num_rows: int
    """Rows of the file, whether they can be used or not."""
    questions: list[Question]
    """The rows that can be used; their ``row_id`` is unique."""
    row_faults: list[Fault] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """All faults, a line each, with their row."""
        return [str(fault) for fault in self.row_faults]


def read_benchmark(kind: Kind, path: Path) -> Benchmark:
    """Read a benchmark; faulty rows are left out, and every fault is listed.

    Raises:
        TableError: The file cannot be read, or is none of this kind.
    """
    raise NotImplementedError
