"""`tcssa export`: a trained compressor to a verified artefact."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tcssa_cli.options import DebugFlag, JsonFlag
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa.artefact import Artefact


class Format(StrEnum):
    """What can be exported to."""

    ONNX = "onnx"
    TRT = "trt"
    TRT_RTX = "trt-rtx"


def export(
    model: Annotated[Path, typer.Argument(help="Run directory or checkpoint.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the artefact.")],
    format: Annotated[
        Format,
        typer.Option(help="onnx; trt takes the TensorRT that is installed; trt-rtx the RTX one."),
    ] = Format.ONNX,
    min_patches: Annotated[int, typer.Option(help="Fewest patches of an engine's range.")] = 1,
    opt_patches: Annotated[
        int | None, typer.Option(help="Patches an engine is tuned for.", show_default="8192")
    ] = None,
    max_patches: Annotated[
        int | None, typer.Option(help="Most patches an engine takes.", show_default="131072")
    ] = None,
    max_batch: Annotated[
        int | None, typer.Option(help="Most slides an engine takes at once.", show_default="8")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="GPU an engine is built for, as sm89.", show_default="this machine's"),
    ] = None,
    workspace: Annotated[int, typer.Option(help="Scratch memory of an engine, in MB.")] = 2048,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the artefact.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Export the compressor, and compare it with torch before anything is written.

    Slots, masses and the routing of every patch are compared over many sizes of bags. A
    deviation ends the command without an artefact.
    """
    output = Output(as_json)
    from tcssa.compressor import open_checkpoint
    from tcssa_exporters import export_compressor
    from tcssa_runtimes import open_runtime

    checkpoint = open_checkpoint(model)
    artefact = export_compressor(
        checkpoint.model,
        out,
        format=format.value,
        checkpoint_sha256=checkpoint.sha256,
        encoder=checkpoint.encoder,
        min_patches=min_patches,
        opt_patches=opt_patches,
        max_patches=max_patches,
        max_batch=max_batch,
        targets=target.split(",") if target else [],
        workspace_mb=workspace,
        overwrite=overwrite,
        open_engine=open_runtime,
        reporter=output,
    )
    output.result(
        {"artefact": str(out), **artefact.model_dump(mode="json")},
        lambda console: show_artefact(console, out, artefact),
    )
    output.hint(f"next: tcssa encode FEATURES --model {out} --out DIR")


def show_artefact(console: Console, folder: Path, artefact: Artefact) -> None:
    """What was compared, and what the artefact is."""
    rows = [
        [
            row.case,
            row.batch,
            row.num_patches,
            f"{row.max_abs_slots:.1e}",
            f"{row.max_abs_mass:.1e}",
            f"{row.routed_alike:.2%}",
        ]
        for row in artefact.parity.rows
    ]
    header = ["case", "slides", "patches", "slots differ by", "mass differs by", "routed alike"]
    title = f"Parity: {artefact.parity.status}; tolerance {artefact.parity.tolerance:g}, relative"
    console.print(make_table(title, header, rows))
    size = sum((folder / model.file).stat().st_size for model in artefact.models.values()) / 1e6
    target = f" for {', '.join(artefact.gpu_targets)}" if artefact.gpu_targets else ""
    console.print(
        f"{folder}: {artefact.format}{target}, {size:.1f} MB, K = {artefact.num_slots}, "
        f"D = {artefact.feature_dim}, encoder {artefact.encoder or 'unknown'}",
        soft_wrap=True,
    )
