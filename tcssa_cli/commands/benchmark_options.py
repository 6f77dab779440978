"""The options of `tcssa eval --benchmark`, which runs of train-vqa take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from tcssa_cli.options import SeveralSlides

_PANEL = "Runs of train-vqa"


class BenchmarkKind(StrEnum):  # typer takes no Literal within a tuple
    """Kinds of question files."""

    SLIDEBENCH_TCGA = "slidebench-tcga"
    SLIDEBENCH_BCNB = "slidebench-bcnb"
    WSI_VQA = "wsi-vqa"


MethodName = Literal["likelihood", "text", "generate"]
"""Ways to answer questions with options."""


BenchmarkFile = Annotated[
    tuple[BenchmarkKind, Path] | None,
    typer.Option(
        metavar="NAME FILE",
        help="Benchmark and its questions: slidebench-tcga, slidebench-bcnb or wsi-vqa.",
        rich_help_panel=_PANEL,
    ),
]
Method = Annotated[
    MethodName | None,
    typer.Option(
        help="Compare the likelihoods of the options' letters [default: likelihood], or of "
        "their texts without showing options (text), or read the option off a generated answer "
        "(generate).",
        rich_help_panel=_PANEL,
    ),
]
Permute = Annotated[
    bool,
    typer.Option(
        "--permute",
        help="Ask every cyclic order of the options too: does the answer follow the letter?",
        rich_help_panel=_PANEL,
    ),
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        help="Score another system's answers (JSONL or CSV) instead of a run.",
        rich_help_panel=_PANEL,
    ),
]
Compared = Annotated[
    list[Path] | None,
    typer.Option(
        help="Folder of another evaluation of the same file, for the plot; repeatable.",
        rich_help_panel=_PANEL,
    ),
]
Several = Annotated[
    SeveralSlides | None,
    typer.Option(
        help="Where a row names a patient with several slides: count it as unanswered "
        "(error) [default], take the slide DX1, or the first by name.",
        rich_help_panel=_PANEL,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1, help="Ask the first rows only; the report says so.", rich_help_panel=_PANEL
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, help="Prompts read at a time [default: 16].", rich_help_panel=_PANEL),
]
MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Where a generated answer is cut at the latest [default: 64].",
        rich_help_panel=_PANEL,
    ),
]
LanguageModel = Annotated[
    str | None,
    typer.Option(
        help="Where the language model lies, if not where it was trained from.",
        rich_help_panel=_PANEL,
    ),
]
AllowHub = Annotated[
    bool,
    typer.Option(
        "--allow-hub",
        help="Let the language model be downloaded from its hub.",
        rich_help_panel=_PANEL,
    ),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Run code that comes with the language model; only if you trust it.",
        rich_help_panel=_PANEL,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Ask everything again.", rich_help_panel=_PANEL),
]
