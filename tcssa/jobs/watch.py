"""Events of a running job, for programs that watch it: a JSON line for each, and metrics.

The process that hands out the slides writes them, whoever worked on a slide.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tcssa.errors import FileError
from tcssa.jobs.metrics import Metrics


@dataclass(frozen=True)
class SlideEvent:
    """The end of the work on a slide."""

    slide_id: str
    outcome: str
    """``done``, ``empty``, ``failed``, or ``taken`` by another process."""
    num_patches: int = 0
    device: str | None = None
    """What computed it, where it was computed."""
    reason: str | None = None
    """Why it failed."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Seconds that stages of the work on this slide took; slides overlap."""


class Watch:
    """Writes a job's events, each where it is asked for.

    Args:
        log: File that gets a JSON line for each event, at its end.
        metrics: Text file of a Prometheus node exporter, replaced as the job goes on.

    Raises:
        FileError: The log cannot be written.
    """

    def __init__(self, log: Path | None = None, metrics: Path | None = None) -> None:
        self._log = log
        self._metrics = None if metrics is None else Metrics(metrics)
        self._write_line("")  # fails now, and not after hours

    @contextmanager
    def over(self, command: str, num_slides: int, num_skipped: int) -> Iterator[None]:
        """Write the events of a command's beginning and end around a block.

        Args:
            command: Name of the command.
            num_slides: Slides that it was given.
            num_skipped: Slides of them that were done before.
        """
        counts = {"num_slides": num_slides, "num_skipped": num_skipped}
        if self._metrics is not None:
            self._metrics.begin(command, num_slides, num_skipped)
        self._write("begin", command=command, host=socket.gethostname(), **counts)
        outcome = "stopped"
        try:
            yield
            outcome = "complete"
        finally:
            self._write("end", command=command, host=socket.gethostname(), outcome=outcome)
            if self._metrics is not None:
                self._metrics.write()

    def slide(self, event: SlideEvent, worker: str | None = None, host: str | None = None) -> None:
        """Write the end of the work on a slide.

        Args:
            event: What became of it.
            worker: The worker that had it; None where this process works alone.
            host: The worker's machine; None is this one.
        """
        self._write(
            "slide",
            slide_id=event.slide_id,
            outcome=event.outcome,
            reason=event.reason,
            host=host or socket.gethostname(),
            worker=worker,
            device=event.device,
            num_patches=event.num_patches,
            seconds={name: round(value, 4) for name, value in event.seconds.items()},
        )
        if self._metrics is not None:
            self._metrics.count(event.outcome, event.num_patches)

    def worker_ended(self, worker: str, num_slides: int, death: str | None = None) -> None:
        """Write the end of a worker.

        Args:
            worker: Its name.
            num_slides: Slides that it worked on.
            death: How it died; None if it ended as it should.
        """
        outcome = "complete" if death is None else "died"
        self._write("worker", worker=worker, num_slides=num_slides, outcome=outcome, reason=death)

    def _write(self, event: str, **facts: object) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write_line(json.dumps({"time": time, "event": event, **facts}) + "\n")

    def _write_line(self, line: str) -> None:
        """Append a line in one call, so that those of several processes do not mix."""
        if self._log is None:
            return
        try:
            descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise FileError(
                self._log,
                f"the log cannot be written ({error.strerror})",
                hint="give --log-json a file in a folder that exists, on a disk with space",
            ) from error
