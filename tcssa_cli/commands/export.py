"""`tcssa export`: a trained model to a verified artefact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tcssa.errors import UsageError, printable
from tcssa_cli.commands.export_options import (
    ChunkPatches,
    ClassNames,
    EncoderName,
    EncoderWeights,
    FormatOption,
    GraphOption,
    MaxBatch,
    MaxPatches,
    MinPatches,
    OptPatches,
    PrecisionOption,
    ProjectorFile,
    Targets,
    TritonRepository,
    What,
    WhatOption,
    Workspace,
)
from tcssa_cli.options import DebugFlag, JsonFlag
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa.artefact import Artefact
    from tcssa.artefact import What as Ending


_ENDS: dict[What, Ending] = {
    "compressor": "compressor",
    "classifier": "classifier",
    "projector": "projector",
}
"""Last part of the graph of a trained model."""


def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the artefact.")],
    model: Annotated[
        Path | None, typer.Argument(help="Run directory or checkpoint.", show_default=False)
    ] = None,
    format: FormatOption = "onnx",
    precision: PrecisionOption = "fp32",
    graph: GraphOption = "full",
    what: WhatOption = "compressor",
    encoder: EncoderName = None,
    weights: EncoderWeights = None,
    projector: ProjectorFile = None,
    classes: ClassNames = None,
    chunk_patches: ChunkPatches = None,
    min_patches: MinPatches = None,
    opt_patches: OptPatches = None,
    max_patches: MaxPatches = None,
    max_batch: MaxBatch = None,
    target: Targets = None,
    workspace: Workspace = 2048,
    triton: TritonRepository = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the artefact.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Export a model, and compare it with torch before anything is written.

    Slots, masses, outputs of a head and the routing of every patch are compared over many sizes of
    bags. A deviation ends the command without an artefact.
    """
    output = Output(as_json)
    if what == "encoder":
        from tcssa_cli.commands.export_encoder import export_named

        export_named(
            output,
            encoder,
            out,
            weights=weights,
            format=format,
            max_batch=max_batch,
            targets=_split(target),
            workspace_mb=workspace,
            overwrite=overwrite,
            without_meaning={
                "MODEL": model is not None,
                "--precision": precision != "fp32",
                "--graph": graph != "full",
                "--triton": triton is not None,
                "--projector": projector is not None,
                "--class": bool(classes),
                "--chunk-patches": chunk_patches is not None,
                "--min-patches": min_patches is not None,
                "--opt-patches": opt_patches is not None,
                "--max-patches": max_patches is not None,
            },
        )
        return
    if model is None:
        raise UsageError("no model was given", hint="name a run or a checkpoint")
    if encoder is not None or weights is not None:
        raise UsageError("--encoder and --weights have a meaning only with --what encoder")
    from tcssa_exporters import check_triton, export_model, open_source, write_triton_models
    from tcssa_runtimes import open_runtime

    if triton is not None:
        check_triton(format, out.name, triton, graph, overwrite=overwrite)
    artefact = export_model(
        open_source(model, _ENDS[what], projector=projector, classes=classes),
        out,
        format=format,
        overwrite=overwrite,
        open_engine=open_runtime,
        reporter=output,
        precision=precision,
        graph=graph,
        chunk_patches=chunk_patches,
        min_patches=min_patches,
        opt_patches=opt_patches,
        max_patches=max_patches,
        max_batch=max_batch,
        targets=_split(target),
        workspace_mb=workspace,
    )
    models: list[Path] = []
    if triton is not None:
        models = write_triton_models(out, triton, overwrite=overwrite)
    output.result(
        {
            "artefact": str(out),
            **artefact.model_dump(mode="json"),
            "triton": [str(folder) for folder in models],
        },
        lambda console: show_artefact(console, out, artefact),
    )
    for folder in models:
        output.note(f"Triton model: {folder}")
    output.hint(f"next: tcssa encode FEATURES --model {out} --out DIR")


def _split(target: str | None) -> list[str]:
    return [name.strip() for name in target.split(",")] if target is not None else []


def show_artefact(console: Console, folder: Path, artefact: Artefact) -> None:
    """Print what was compared, and what the artefact is.

    Args:
        console: The console to print on.
        folder: The artefact's folder.
        artefact: The artefact.
    """
    heads = list(artefact.parity.rows[0].max_abs_heads)
    header = ["case", "slides × patches", "slots differ by", "mass", *heads, "routed alike"]
    for runner in dict.fromkeys(row.runner for row in artefact.parity.rows):
        rows = [
            [
                row.case,
                f"{row.batch} × {row.num_patches}",
                f"{row.max_abs_slots:.1e}",
                f"{row.max_abs_mass:.1e}",
                *(f"{row.max_abs_heads[name]:.1e}" for name in heads),
                f"{row.routed_alike:.2%}",
            ]
            for row in artefact.parity.rows
            if row.runner == runner
        ]
        console.print(make_table(f"Compared with torch: {runner}", header, rows))
    console.print(
        f"Parity: {artefact.parity.status}; tolerance {artefact.parity.tolerance:g}, relative",
        soft_wrap=True,
    )
    for open_end in artefact.parity.not_run:
        console.print(f"Not run: {open_end}", soft_wrap=True)
    stages = ", ".join(f"{stage} {dtype}" for stage, dtype in artefact.precision.items())
    console.print(f"Computes in: {stages}", soft_wrap=True)
    for name, model in artefact.models.items():
        size = (folder / model.file).stat().st_size / 1e6
        scratch = model.build.get("scratch_bytes")
        needs = "" if scratch is None else f", scratch memory {int(scratch) / 1e6:.0f} MB"
        console.print(f"{name}: {model.file}, {size:.1f} MB{needs}", soft_wrap=True)
    target = f" for {', '.join(artefact.gpu_targets)}" if artefact.gpu_targets else ""
    console.print(
        f"{folder}: {artefact.format}{target}, {artefact.what}, K = {artefact.num_slots}, "
        f"D = {artefact.feature_dim}, encoder {escape(printable(artefact.encoder or 'unknown'))}",
        soft_wrap=True,
    )
