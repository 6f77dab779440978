"""`tcssa card`: the model card of a run, an artefact or a compressor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tcssa_cli.options import DebugFlag, JsonFlag, out_option
from tcssa_cli.output import Output


def card(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|ARTEFACT|CHECKPOINT",
            help="Finished run of train-mil, ONNX artefact, or checkpoint of a compressor.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        out_option(r"Folder to write README.md in. \[default: print the card]"),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Write a model's card: data, splits, metrics with intervals, encoder and licence, limits.

    It is the card that tcssa push puts beside the model.

    Examples:
        tcssa card run
        tcssa card run --out card
    """
    output = Output(as_json)
    from tcssa.files import atomic
    from tcssa.hub import is_hub_address, local_model
    from tcssa.hub.contents import CARD_FILE
    from tcssa.publishing.card import model_card
    from tcssa.publishing.model_files import model_files

    address = str(model) if is_hub_address(model) else None
    text = model_card(model_files(local_model(model, output)), address)
    if out is not None:
        atomic.write_text(out / CARD_FILE, text)
    path = None if out is None else out / CARD_FILE
    output.result(
        {"card": text, "file": path},
        lambda console: console.print(
            text if path is None else str(path), soft_wrap=True, markup=False, end=""
        ),
    )
