"""The stages of an export, as reported to the user."""

from __future__ import annotations

from tcssa.reporter import Reporter, Task
from tcssa_exporters.options import ExportOptions


class Stages:
    """Reports each stage in a line."""

    def __init__(self, task: Task, reporter: Reporter, total: int) -> None:
        self._task, self._reporter, self._total = task, reporter, total
        self._begun = 0

    def begin(self, text: str) -> None:
        """Begin a stage, which ends the one before."""
        if self._begun:
            self._task.advance()
        self._begun += 1
        self._task.describe(text)
        self._reporter.note(f"{self._begun}/{self._total}  {text}")

    def end(self) -> None:
        """End the last stage."""
        self._task.advance()


def count_stages(options: ExportOptions, *, compares_engines: bool) -> int:
    """Count the stages of an export.

    Args:
        options: The options of the export.
        compares_engines: Whether engines are run and compared with torch.
    """
    parts = 2 if options.graph == "chunked" else 1
    comparisons = 2 if options.precision.compute == "float16" else 1
    return parts * (1 + options.is_engine) + comparisons + compares_engines
