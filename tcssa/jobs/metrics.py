"""Metrics of a running job in Prometheus' text format, for a node exporter's folder."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tcssa.files import atomic

_EVERY_S = 5.0


class Metrics:
    """Counts of a job, and the file that shows them.

    Args:
        path: The file; the exporter reads those that end in ``.prom``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes: Counter[str] = Counter()
        self._num_patches = self._num_slides = 0
        self._command = ""
        self._began = self._written = time.monotonic()

    def begin(self, command: str, num_slides: int, num_skipped: int) -> None:
        """Begin with the counts of a command.

        Args:
            command: Name of the command.
            num_slides: Slides that it was given.
            num_skipped: Slides of them that were done before.
        """
        self._command, self._num_slides = command, num_slides
        self._outcomes = Counter(done=0, failed=0, skipped=num_skipped)
        self._began = time.monotonic()
        self.write()

    def count(self, outcome: str, num_patches: int) -> None:
        """Count a slide; the file follows within seconds.

        Args:
            outcome: What became of it.
            num_patches: Its patches.
        """
        self._outcomes[outcome] += 1
        self._num_patches += num_patches
        if time.monotonic() - self._written >= _EVERY_S:
            self.write()

    def write(self) -> None:
        """Replace the file by one of the present counts."""
        self._written = time.monotonic()
        atomic.write_text(self._path, "".join(f"{line}\n" for line in self._lines()))

    def _lines(self) -> Iterator[str]:
        of = f'command="{self._command}"'
        yield "# HELP tcssa_slides_total Slides that this call is done with."
        yield "# TYPE tcssa_slides_total counter"
        for outcome, number in self._outcomes.items():
            yield f'tcssa_slides_total{{{of},outcome="{outcome}"}} {number}'
        yield "# HELP tcssa_patches_total Patches of the slides done by this call."
        yield "# TYPE tcssa_patches_total counter"
        yield f"tcssa_patches_total{{{of}}} {self._num_patches}"
        seconds = max(time.monotonic() - self._began, 1e-3)
        gauges = {
            "tcssa_slides": ("Slides that this call was given.", self._num_slides),
            "tcssa_patches_per_second": (
                "Patches a second since this call began.",
                round(self._num_patches / seconds, 3),
            ),
        }
        for name, (meaning, value) in gauges.items():
            yield f"# HELP {name} {meaning}"
            yield f"# TYPE {name} gauge"
            yield f"{name}{{{of}}} {value}"
