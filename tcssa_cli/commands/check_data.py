"""`tcssa check-data`: check a question file and its features before hours are spent on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from tcssa_cli.options import DebugFlag, JsonFlag, SeveralSlides
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa.vqa.data.check_data import DataCheck


FileKind = Literal["conversations", "slidebench-tcga", "slidebench-bcnb", "wsi-vqa"]
"""Kinds of question files."""


def check_data(
    data: Annotated[Path, typer.Argument(help="Question file.")],
    kind: Annotated[
        FileKind, typer.Option(help="Conversations to train on, or a benchmark.")
    ] = "conversations",
    features: Annotated[
        Path | None, typer.Option(help="Folder of patch features to look for the slides in.")
    ] = None,
    several: Annotated[
        SeveralSlides,
        typer.Option(
            help="Where a question names a patient with several slides: an error, the slide DX1, "
            "or the first by name."
        ),
    ] = "error",
    train: Annotated[
        Path | None,
        typer.Option(help="Conversations that were trained on: they must share no patient."),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Check a question file: rows, answers, slides' features, patients that were trained on.

    Everything that is wrong is listed; exit code 1 if anything is.
    """
    output = Output(as_json)
    from tcssa.vqa.data.check_data import as_json as plain
    from tcssa.vqa.data.check_data import check_data as check

    found = check(
        data,
        kind,
        features=features,
        several=several,
        other=train,
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
        f"{check.path}: {check.num_rows} rows, {check.num_usable} can be used, about "
        f"{check.num_slides} slides{f'; features: {dims}' if dims else ''}",
        soft_wrap=True,
    )
