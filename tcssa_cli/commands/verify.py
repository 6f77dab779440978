"""`tcssa verify`: check that every file of a job is whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tcssa.errors import UsageError, counted
from tcssa_cli.options import DebugFlag, JsonFlag
from tcssa_cli.output import Output, show_failures

if TYPE_CHECKING:
    from tcssa.slides.extraction.verify import VerifyReport


def verify(
    job: Annotated[
        Path,
        typer.Argument(help="Job folder of tcssa extract or convert, or archive of encode."),
    ],
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Move faulty files to JOB/faulty; the same command makes them again.",
        ),
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Read every feature and slot of a job, and name the files that are damaged.

    Examples:
        tcssa verify job
        tcssa verify job --repair
    """
    output = Output(as_json)
    from tcssa.files.remote_file import as_address, plain_address

    if address := as_address(job):
        raise UsageError(
            f"{plain_address(address)}: every byte is read, and that is done on a disk",
            hint="copy it here, as with aws s3 sync, and give the copy; each object is whole as it "
            "was stored",
        )
    from tcssa.slides.extraction.verify import verify as verify_job
    from tcssa_runtimes.archive.slot_parts import find_parts
    from tcssa_runtimes.archive.verify_parts import verify_parts

    if find_parts(job):
        report = verify_parts(job, output, repair=repair)
    else:
        report = verify_job(job, repair=repair, reporter=output)
    output.result(asdict(report), lambda console: _show(console, report))
    if report.num_requeued:
        output.hint("run the same command again: it makes what is missing")
    elif report.faults:
        output.hint(f"tcssa verify {job} --repair moves them aside, to be made again")
    if len(report.faults) > report.num_requeued:
        raise typer.Exit(1)


def _show(console: Console, report: VerifyReport) -> None:
    show_failures(console, [(fault.reason, fault.path, None) for fault in report.faults], "faulty")
    aside = f", {report.num_requeued} moved aside" if report.num_requeued else ""
    console.print(
        f"{counted(report.num_features, 'file')} of features "
        f"({counted(report.num_patches, 'patch')}), {report.num_slots} of slots: "
        f"{len(report.faults)} faulty{aside}",
        soft_wrap=True,
    )
    if report.without_grid:
        console.print(
            f"{counted(len(report.without_grid), 'file')} of features beside no patches to be "
            f"compared with, such as {report.without_grid[0]}",
            soft_wrap=True,
        )
    if report.leftovers:
        console.print(
            f"{counted(len(report.leftovers), 'temporary file')} or locks, of commands that are "
            "still running or were killed"
        )
