"""`tcssa export --what encoder`: a patch encoder to a verified graph or engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tcssa.errors import UsageError
from tcssa_cli.commands.export_options import CommonOptions, EncoderOptions, EngineOptions
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa.encoders.exported import ExportedEncoder


def export_encoder(
    output: Output, options: EncoderOptions, out: Path, common: CommonOptions, engine: EngineOptions
) -> None:
    """Export a named encoder, and print what was made.

    Args:
        output: Receives the result.
        options: The encoder and its weights.
        out: Folder to make.
        common: The format, and whether to replace what is at ``out``.
        engine: What an engine is built for.

    Raises:
        UsageError: No encoder was named.
    """
    if options.encoder is None:
        raise UsageError("no encoder was named", hint="tcssa export --what encoder --encoder NAME")
    from tcssa.encoders import encoder_spec
    from tcssa_exporters import export_encoder as export

    made = export(
        encoder_spec(options.encoder, options.weights),
        out,
        format=common.format,
        max_batch=engine.max_batch,
        targets=engine.targets,
        workspace_mb=engine.workspace,
        overwrite=common.overwrite,
        reporter=output,
    )
    output.result(
        {"artefact": str(out), **made.model_dump(mode="json")},
        lambda console: _show(console, out, made),
    )
    if made.format == "onnx":
        output.hint(f"next: tcssa extract SLIDES --encoder onnx:{out} --out JOB")


def _show(console: Console, out: Path, made: ExportedEncoder) -> None:
    rows = [[row.patches, row.batch, f"{row.relative:.1e}"] for row in made.parity]
    console.print(
        make_table("Compared with torch: ONNX Runtime", ["patches", "batch", "differ by"], rows)
    )
    console.print(f"Tolerance {made.tolerance:g}, relative", soft_wrap=True)
    if made.not_run:
        console.print(f"Not run: {made.not_run}", soft_wrap=True)
    size = (out / made.file).stat().st_size / 1e6
    console.print(
        f"{out}: {made.format}, {made.name}, {made.input_px} px, D = {made.feature_dim}, "
        f"{made.file} {size:.1f} MB",
        soft_wrap=True,
    )
