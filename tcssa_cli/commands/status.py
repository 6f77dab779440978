"""`tcssa status`: what is done of a job, and what is in work."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from tcssa.errors import counted
from tcssa_cli.options import DebugFlag, JsonFlag
from tcssa_cli.output import Output, make_table, show_failures

if TYPE_CHECKING:
    from tcssa.jobs.status import JobStatus

_MOST_ROWS = 20


def status(
    job: Annotated[
        Path,
        typer.Argument(
            metavar="JOB",
            help="Folder or address that tcssa extract or tcssa encode was given as --out.",
            show_default=False,
        ),
    ],
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Say what is done of a job, what is in work and where, what failed, and how long is left.

    Everything is read from the job's folder, by any machine that sees it. The rate is that of the
    last ten minutes.

    Examples:
        tcssa status job
        tcssa status encoded --json
        tcssa status s3://bucket/job
    """
    output = Output(as_json)
    from tcssa.files.output_folder import seen_folder
    from tcssa.jobs.status import job_status

    with seen_folder(job) as folder:
        found = job_status(folder)

    def show(console: Console) -> None:
        for each in found:
            _show(console, each)

    output.result({"jobs": [_data(each) for each in found]}, show)


def _data(found: JobStatus) -> dict[str, Any]:
    return {
        "command": found.command,
        "results": found.results,
        "num_slides": found.num_slides,
        "num_done": found.num_done,
        "num_left": found.num_left,
        "failed": found.failed,
        "in_work": [{**asdict(lock), "is_live": lock.is_live} for lock in found.in_work],
        "slides_per_s": found.slides_per_s,
        "seconds_left": found.seconds_left,
        "last_s": found.last_s,
    }


def _show(console: Console, found: JobStatus) -> None:
    console.print(f"{found.command}: {found.results}", soft_wrap=True)
    left = "" if found.num_left is None else f", {found.num_left:,} left"
    console.print(
        f"{found.num_done:,} of {counted(found.num_slides, 'slide')} done, "
        f"{len(found.failed):,} failed{left}"
    )
    if found.last_s is not None:
        console.print(f"the last one {_duration(found.last_s)} ago; {_speed(found)}")
    rows = [
        [
            lock.name,
            str(lock.owner) if lock.is_live else f"{lock.owner}, which is dead",
            "" if lock.since is None else _duration(time.time() - lock.since),
        ]
        for lock in found.in_work
    ]
    if rows:
        console.print(make_table(None, ["in work", "by", "for"], rows[:_MOST_ROWS]))
    _tell_of_more(console, len(rows), "in work")
    failures = list(found.failed.items())
    show_failures(console, [(why, Path(name), None) for name, why in failures[:_MOST_ROWS]])
    _tell_of_more(console, len(failures), "failed")


def _tell_of_more(console: Console, number: int, what: str) -> None:
    if number > _MOST_ROWS:
        console.print(f"and {number - _MOST_ROWS:,} more {what}; --json has all")


def _speed(found: JobStatus) -> str:
    if not found.slides_per_s:
        return "nothing in the last ten minutes to reckon a rate from"
    rate = f"{found.slides_per_s * 3600:,.0f} slides an hour"
    if not found.seconds_left:
        return rate
    return f"{rate}, about {_duration(found.seconds_left)} left"


def _duration(seconds: float) -> str:
    """Return a time in its largest unit, and the next where that one is coarse."""
    minutes = int(max(seconds, 0.0) // 60)
    if minutes < 1:
        return f"{max(seconds, 0.0):.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} days {minutes % 1440 // 60} h"
