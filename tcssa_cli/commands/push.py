"""`tcssa push`: a model to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tcssa.errors import counted
from tcssa_cli.options import DebugFlag, JsonFlag
from tcssa_cli.output import Output


def push(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|ARTEFACT|CHECKPOINT",
            help="Finished run of train-mil, ONNX artefact, or checkpoint of a compressor.",
            show_default=False,
        ),
    ],
    repo: Annotated[
        str,
        typer.Argument(help="OWNER/NAME on the hub, made if need be.", show_default=False),
    ],
    public: Annotated[
        bool,
        typer.Option(
            "--public",
            help="Let everybody see a repository that is made. One that exists stays as it is.",
        ),
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Push a model to the Hugging Face hub: safetensors, JSON, checksums, and a card made from it.

    Slides and patients are not named in what is pushed, nor are folders of this machine. Log in
    with hf auth login, or set HF_TOKEN.

    Examples:
        tcssa push run OWNER/NAME
        tcssa push artefact OWNER/NAME --public
    """
    output = Output(as_json)
    from tcssa.publishing.push import push as push_model

    pushed = push_model(model, repo, output, public=public)
    output.result(
        {"address": str(pushed.address), "files": pushed.files},
        lambda console: console.print(
            f"{counted(len(pushed.files), 'file')} pushed: {pushed.address}", soft_wrap=True
        ),
    )
    output.hint(f"next: tcssa pull {pushed.address} --out DIR, or give that address as a model")
