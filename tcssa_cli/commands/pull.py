"""`tcssa pull`: a model from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tcssa.errors import counted
from tcssa_cli.options import DebugFlag, JsonFlag, out_option
from tcssa_cli.output import Output


def pull(
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="hf:OWNER/NAME, or hf:OWNER/NAME@REVISION: a branch, a tag or a commit.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, out_option("Folder to write.")],
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Pull a model that tcssa push has pushed, and hold every file against its checksum.

    Commands that take a run, an artefact or a checkpoint take the address itself as well.

    Examples:
        tcssa pull hf:OWNER/NAME --out run
        tcssa pull hf:OWNER/NAME@v1 --out run
    """
    output = Output(as_json)
    from tcssa.hub import HubAddress
    from tcssa.hub.pull import pull as pull_model

    copy = pull_model(HubAddress.parse(address), out, output)
    output.result(
        {"folder": out, "address": address, "commit": copy.commit, "files": copy.files},
        lambda console: console.print(
            f"{counted(len(copy.files), 'file')} of {address}, verified: {out}", soft_wrap=True
        ),
    )
