"""`tcssa export --what encoder`: a patch encoder to a verified graph or engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console

from tcssa.encoders.exported import ExportedEncoder
from tcssa.errors import UsageError
from tcssa_cli.output import Output, make_table


def export_named(
    output: Output,
    name: str | None,
    out: Path,
    *,
    weights: Path | None,
    format: Literal["onnx", "trt", "trt-rtx"],
    max_batch: int | None,
    targets: Sequence[str],
    workspace_mb: int,
    overwrite: bool,
    without_meaning: Mapping[str, bool],
) -> None:
    """Export a named encoder, and print what was made.

    Args:
        output: Receives the result.
        name: Name of the encoder.
        out: Folder to make.
        weights: File of the encoder's weights.
        format: Format to export to.
        max_batch: Most patches that an engine takes at once.
        targets: GPUs that an engine is for.
        workspace_mb: Scratch memory of an engine, in MB.
        overwrite: Replace what is at ``out``.
        without_meaning: Options of the other exports, and whether each was given.
    """
    if given := [option for option, is_given in without_meaning.items() if is_given]:
        raise UsageError(f"with --what encoder {' and '.join(given)} has no meaning")
    if name is None:
        raise UsageError("no encoder was named", hint="tcssa export --what encoder --encoder NAME")
    from tcssa.encoders import encoder_spec
    from tcssa_exporters import export_encoder

    made = export_encoder(
        encoder_spec(name, weights),
        out,
        format=format,
        max_batch=max_batch,
        targets=targets,
        workspace_mb=workspace_mb,
        overwrite=overwrite,
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
