"""`tcssa import-vqa`: make a run of a slide language model of the reference implementation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tcssa.vqa.model.reference_settings import ImportSettings
from tcssa_cli.options import DebugFlag, JsonFlag, out_option
from tcssa_cli.output import Output
from tcssa_cli.settings_flags import Flags, given, with_flags


@with_flags(
    Flags(ImportSettings, panel="Language model", names=["llm", "allow_hub", "trust_remote_code"]),
    Flags(ImportSettings, panel="Reading", names=["precision", "chat_template", "encoder"]),
)
def import_vqa(
    compressor: Annotated[
        Path,
        typer.Option(help="moe_compressor.pt or best_model.pth of the reference, or one of ours."),
    ],
    projector: Annotated[Path, typer.Option(help="projector.pt of the reference.")],
    out: Annotated[Path, out_option("Run directory to write.")],
    flags: dict[str, Any],
    lora: Annotated[
        Path | None,
        typer.Option(help=r"Folder of its LoRA adapter. \[default: none, a model of stage 1]"),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Make a run of a slide language model that the reference implementation trained.

    No code from the files runs. The run is asked, evaluated, merged and exported as one of
    train-vqa is; it holds no training that --from could go on with.

    Examples:
        tcssa import-vqa --compressor c.pt --projector p.pt --lora lora --out run
        tcssa eval run --benchmark slidebench-tcga FILE.csv --features DIR
    """
    output = Output(as_json)
    settings = given(ImportSettings, flags)
    from tcssa.vqa.model.reference_run import import_reference

    left_out = import_reference(compressor, projector, out, lora, settings)
    asked = (
        "asked in the model's chat template, in which it was trained"
        if settings.chat_template
        else "asked without chat marks, as the published evaluation asks"
    )
    output.note(asked)
    if left_out:
        output.note(f"{left_out} tensors beside LoRA are the language model's own, and left out")
    if settings.encoder is None:
        output.hint("nothing checks that features are of the right encoder; --encoder notes it")
    output.result(
        {"run": out, "left_out": left_out, "chat_template": settings.chat_template},
        lambda console: console.print(f"run: {out}", soft_wrap=True),
    )
