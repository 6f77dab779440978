"""Reports of the library's progress, made without knowing a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of work that advances."""

    def advance(self, amount: int = 1) -> None:
        """Say that ``amount`` more units are done."""

    def skip(self, amount: int) -> None:
        """Say that ``amount`` units need not be done; the remaining time is that of the others."""

    def describe(self, text: str) -> None:
        """Say what is being worked on now."""


class Reporter(Protocol):
    """Receives progress and remarks; ``tcssa_cli.output`` draws them."""

    def task(self, description: str, total: int | None, unit: str) -> AbstractContextManager[Task]:
        """Open a task, a piece of work that advances within a block.

        Args:
            description: The work, in a few words.
            total: Number of units; None if it is not known.
            unit: Name of the units, in the plural, as ``slides``.
        """

    def note(self, text: str) -> None:
        """Make a remark worth a line."""

    def warn(self, text: str) -> None:
        """Tell the user something to know before trusting the result."""


class _SilentTask:
    def advance(self, amount: int = 1) -> None:
        pass

    def skip(self, amount: int) -> None:
        pass

    def describe(self, text: str) -> None:
        pass


class Silent:
    """A reporter that remembers warnings and says nothing; for scripts and tests."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    @contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        """See `Reporter.task`."""
        yield _SilentTask()

    def note(self, text: str) -> None:
        """See `Reporter.note`."""

    def warn(self, text: str) -> None:
        """See `Reporter.warn`."""
        self.warnings.append(text)


class Printed(Silent):
    """A reporter that also writes remarks and warnings to stderr; that of calls in a notebook."""

    def note(self, text: str) -> None:
        """See `Reporter.note`."""
        sys.stderr.write(f"{text}\n")

    def warn(self, text: str) -> None:
        """See `Reporter.warn`."""
        super().warn(text)
        sys.stderr.write(f"warning: {text}\n")
