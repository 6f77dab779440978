"""`tcssa check-data`: check a question file and its features before hours are spent on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tcssa.errors import counted
from tcssa.vqa.settings import (
    TRUST_OPTION,
    CorpusSettings,
    FileKind,
    SeveralSlides,
    VisualSettings,
)
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
            help="Where a row is about several slides, or names a patient with several: report it "
            "(error), see all as one (merge), or one behind the other (concat); of a patient also "
            "take the slide DX1 (dx1), or the first by name (first)."
        ),
    ] = "error",
    train: Annotated[
        Path | None,
        typer.Option(help="Training conversations, which must share no patient with the file."),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(
            rich_help_panel="Length",
            help="Language model to train: folder, GGUF file, or name in the local cache. Only its "
            "tokenizer is read, to find rows that are too long.",
        ),
    ] = None,
    max_length: Annotated[
        int,
        typer.Option(min=8, rich_help_panel="Length", help="Longest row in tokens, with --llm."),
    ] = CorpusSettings().max_length,
    num_tokens: Annotated[
        int, typer.Option(min=1, rich_help_panel="Length", help="Tokens of a slide, with --llm.")
    ] = VisualSettings().num_tokens,
    system: Annotated[
        str | None,
        typer.Option(rich_help_panel="Length", help=r"System prompt, with --llm. \[default: none]"),
    ] = None,
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            TRUST_OPTION,
            rich_help_panel="Length",
            help="Run code that comes with the language model. Only if you trust it.",
        ),
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Check a question file: rows, answers, slides' features, patients shared with training.

    Everything that is wrong is listed; the exit code is 1 if anything is.

    Examples:
        tcssa check-data SlideInstruct.json --features job
        tcssa check-data SlideInstruct.json --llm Qwen/Qwen3-4B-Instruct-2507
        tcssa check-data WsiVQA_test.json --kind wsi-vqa --train SlideInstruct.json
    """
    output = Output(as_json)
    from tcssa.vqa.data.check_data import as_json as plain
    from tcssa.vqa.data.check_data import check_data as check
    from tcssa.vqa.data.lengths import LengthLimit

    limit = None
    if llm is not None:
        limit = LengthLimit(llm, max_length, num_tokens, system, trust_remote_code)
    found = check(
        data,
        kind,
        features=features or (),
        several=several,
        other=train,
        limit=limit,
        reporter=output,
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
        f"{counted(check.num_slides, 'slide')}{f'; features: {dims}' if dims else ''}"
        + (f"; longest row: {check.longest} tokens" if check.longest is not None else ""),
        soft_wrap=True,
    )
