"""Slides that another process had when their turn came, and left undone: it died.

Processes that share a job pass over slides that others have. At the end of its list each looks for
those that nobody has any more, and does them itself.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcssa.crew.member import Item
from tcssa.errors import counted
from tcssa.files.locks import STALE_S
from tcssa.files.work_locks import live_locks
from tcssa.reporter import Reporter

_LOOK_AGAIN_S = 5.0
_PATIENCE_S = STALE_S + 30.0


@dataclass
class LeftBehind:
    """Finds slides that were left behind, after each pass over a list."""

    folder: Path
    """Folder of the slides' locks."""
    reporter: Reporter
    deaths: Counter[str] = field(default_factory=Counter)
    """Deaths of our own workers by the slide that they held (`tcssa.crew.dispatcher`)."""
    _before: Counter[str] = field(default_factory=Counter)
    _again: set[str] = field(default_factory=set)

    def among(self, items: Sequence[Item], taken: Collection[str]) -> list[Item]:
        """Return the items that another process had and has no more.

        The lock of a worker of ours that died on another machine must grow old; this is waited for.

        Args:
            items: The items of this pass.
            taken: Names of those that another process had.
        """
        ours = {name for name in taken if self.deaths[name] > self._before[name]}
        self._before = Counter(self.deaths)
        self._wait_for(ours)
        gone = set(taken) - live_locks(self.folder, taken)
        again = [item for item in items if item.slide_id in gone]
        # the same ones twice: a clock is wrong, and we must not go on for ever
        before, self._again = self._again, {item.slide_id for item in again}
        return again if ours or self._again != before else []

    def _wait_for(self, names: set[str]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        if live_locks(self.folder, names):
            slides = counted(len(names), "slide")
            self.reporter.note(f"waiting for {slides} of a worker that died: up to two minutes")
        while live_locks(self.folder, names) and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_S)
