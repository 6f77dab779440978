"""Options of commands that others watch while they work."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tcssa.config.settings import Section
from tcssa.jobs.watch import Watch
from tcssa_cli.settings_flags import Flags


class WatchOptions(Section):
    """What is written for programs that watch a job."""

    log_json: Path | None = Field(
        default=None,
        description="File that gets a line of JSON for every slide that ends: where, how long, "
        "what became of it.",
    )
    metrics: Path | None = Field(
        default=None,
        description="Text file (.prom) for a Prometheus node exporter: slides by outcome, "
        "patches, rate.",
    )

    def watch(self) -> Watch:
        """Return what writes them.

        Raises:
            FileError: The log cannot be written.
        """
        return Watch(self.log_json, self.metrics)


WATCH = Flags(WatchOptions, at="watch", panel="Watching")
