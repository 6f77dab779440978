"""`tcssa export`: a trained model, or a patch encoder, to a verified artefact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape

from tcssa.errors import UsageError, printable
from tcssa_cli.commands.export_encoder import export_encoder
from tcssa_cli.commands.export_options import (
    CommonOptions,
    EncoderOptions,
    EngineOptions,
    ModelOptions,
)
from tcssa_cli.options import DebugFlag, JsonFlag, encoder_names, out_option
from tcssa_cli.output import Output, make_table
from tcssa_cli.settings_flags import Flags, given, refuse_others, with_flags

if TYPE_CHECKING:
    from tcssa.artefact import Artefact

What = Literal["compressor", "classifier", "projector", "encoder"]

_GROUPS = (
    Flags(CommonOptions, at="common"),
    Flags(ModelOptions, at="model", panel="Trained models", spelled={"classes": "--class"}),
    Flags(EngineOptions, at="engine", panel="Engines"),
    Flags(
        EncoderOptions,
        at="encoder",
        panel="Patch encoders",
        completed={"encoder": encoder_names},
    ),
)


@with_flags(*_GROUPS)
def export(
    out: Annotated[Path, out_option("Folder of the artefact.")],
    flags: dict[str, Any],
    model: Annotated[
        Path | None,
        typer.Argument(
            help="Run directory or checkpoint, or hf:OWNER/NAME of one.", show_default=False
        ),
    ] = None,
    what: Annotated[
        What,
        typer.Option(
            metavar="<choice>",
            help="compressor: the graph ends with slots; classifier: with logits; projector: with "
            "tokens for the language model. encoder: a patch encoder, in place of MODEL.",
        ),
    ] = "compressor",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Export a model, and compare it with torch before anything is written.

    Slots, masses, outputs of a head and the routing of every patch are compared over bags of many
    sizes. If they differ by more than the tolerance, no artefact is written.

    Examples:
        tcssa export run --out artefact
        tcssa export run --graph chunked --precision fp16 --out pair
        tcssa export --what encoder --encoder efficientnet_lite0 --out encoder
    """
    output = Output(as_json)
    common, engine = given(CommonOptions, flags["common"]), given(EngineOptions, flags["engine"])
    if what == "encoder":
        taken = ("common", "engine", "encoder")
        refuse_others(_GROUPS, taken, flags, "--what encoder exports a patch encoder")
        if model is not None:
            raise UsageError(f"--what encoder takes the name of an encoder, not the model {model}")
        export_encoder(output, given(EncoderOptions, flags["encoder"]), out, common, engine)
        return
    taken = ("common", "engine", "model")
    refuse_others(_GROUPS, taken, flags, f"--what {what} exports a trained model")
    if model is None:
        raise UsageError("no model was given", hint="name a run or a checkpoint")
    options = given(ModelOptions, flags["model"])
    _export_trained(output, model, what, options, out, common, engine)


def _export_trained(
    output: Output,
    model: Path,
    what: Literal["compressor", "classifier", "projector"],
    options: ModelOptions,
    out: Path,
    common: CommonOptions,
    engine: EngineOptions,
) -> None:
    from tcssa.hub import local_model
    from tcssa_exporters import check_triton, export_model, open_source, write_triton_models
    from tcssa_runtimes import open_runtime

    triton, overwrite = options.triton, common.overwrite
    if triton is not None:
        check_triton(common.format, out.name, triton, options.graph, overwrite=overwrite)
    model = local_model(model, output)
    source = open_source(model, what, projector=options.projector, classes=options.classes)
    if source.taken:
        output.note(source.taken)
    artefact = export_model(
        source,
        out,
        format=common.format,
        overwrite=overwrite,
        open_engine=open_runtime,
        reporter=output,
        precision=options.precision,
        graph=options.graph,
        chunk_patches=options.chunk_patches,
        min_patches=options.min_patches,
        opt_patches=options.opt_patches,
        max_patches=options.max_patches,
        max_batch=engine.max_batch,
        targets=engine.targets,
        workspace_mb=engine.workspace,
    )
    models = [] if triton is None else write_triton_models(out, triton, overwrite=overwrite)
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
    if what == "classifier":
        output.hint(f"next: tcssa predict {out} SLIDES --out DIR")
    if artefact.members == 1:
        output.hint(f"next: tcssa encode FEATURES --model {out} --out DIR")


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
    members = f"{artefact.members} models side by side, " if artefact.members > 1 else ""
    lengths = dict.fromkeys([str(artefact.feature_dim), str(artefact.slot_dim)])  # patches, slots
    target = f" for {', '.join(artefact.gpu_targets)}" if artefact.gpu_targets else ""
    console.print(
        f"{folder}: {artefact.format}{target}, {artefact.what}, {members}"
        f"K = {artefact.num_slots}, D = {' to '.join(lengths)}, "
        f"encoder {escape(printable(artefact.encoder or 'unknown'))}",
        soft_wrap=True,
    )
