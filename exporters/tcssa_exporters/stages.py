"""The stages of an export, as a user is told of them."""

from __future__ import annotations

from tcssa.reporter import Reporter, Task
from tcssa_exporters.options import ExportOptions


class Stages:
    """Tells of each stage in a line."""

    def __init__(self, task: Task, reporter: Reporter, total: int) -> None:
        self._task, self._reporter, self._total = task, reporter, total
        self._begun = 0

    def begin(self, text: str) -> None:
        """The stage before has ended."""
        if self._begun:
            self._task.advance()
        self._begun += 1
        self._task.describe(text)
        self._reporter.note(f"{self._begun}/{self._total}  {text}")

    def end(self) -> None:
        """The last stage has ended."""
        self._task.advance()


def count_stages(options: ExportOptions, *, compares_engines: bool) -> int:
    """How many stages an export has."""
    parts = 2 if options.graph == "chunked" else 1
    comparisons = 2 if options.precision.compute == "float16" else 1
    return parts * (1 + options.is_engine) + comparisons + compares_engines
