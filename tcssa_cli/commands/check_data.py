"""`tcssa check-data`: check a question file and its features before hours are spent on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tcssa.errors import counted
from tcssa.vqa.settings import FileKind, SeveralSlides
from tcssa_cli.options import DebugFlag, JsonFlag
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa.vqa.data.check_data import DataCheck


def check_data(
    data: Annotated[Path, typer.Argument(help="Question file.")],
    kind: Annotated[
        FileKind,
        typer.Option(
            metavar="<choice>",
            help="Kind of file: conversations to train on, or the benchmark slidebench-tcga, "
            "slidebench-bcnb or wsi-vqa.",
        ),
    ] = "conversations",
    features: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of patch features to look for the slides in, and in all below it; repeat "
            "it for more."
        ),
    ] = None,
    several: Annotated[
        SeveralSlides,
        typer.Option(
            help="Where a question names a patient with several slides: report an error, take the "
            "slide DX1 (dx1), or the first by name (first)."
        ),
    ] = "error",
    train: Annotated[
        Path | None,
        typer.Option(help="Training conversations, which must share no patient with the file."),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Check a question file: rows, answers, slides' features, patients shared with training.

    Everything that is wrong is listed; the exit code is 1 if anything is.

    Examples:
        tcssa check-data SlideInstruct.json --features job
        tcssa check-data WsiVQA_test.json --kind wsi-vqa --train SlideInstruct.json
    """
    output = Output(as_json)
    from tcssa.vqa.data.check_data import as_json as plain
    from tcssa.vqa.data.check_data import check_data as check

    found = check(
        data, kind, features=features or (), several=several, other=train, reporter=output
    )
    output.result(plain(found), lambda console: _show(console, found))
    if not found.is_fit:
        raise typer.Exit(1)


def _show(console: Console, check: DataCheck) -> None:
    if check.findings:
        rows = [[f.kind, f.count, "\n".join(f.examples)] for f in check.findings]
        console.print(make_table("Wrong", ["what", "how many", "such as"], rows))
    dims = ", ".join(f"D = {dim} of {count}" for dim, count in sorted(check.feature_dims.items()))
    console.print(
        f"{check.path}: {counted(check.num_rows, 'row')}, {check.num_usable} can be used, about "
        f"{counted(check.num_slides, 'slide')}{f'; features: {dims}' if dims else ''}",
        soft_wrap=True,
    )
