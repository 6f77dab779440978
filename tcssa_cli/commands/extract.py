"""`tcssa extract`: whole-slide images to patch features."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tcssa.errors import UsageError
from tcssa.settings import resolve
from tcssa.slides.settings import ExtractSettings
from tcssa_cli.options import ConfigFile, DebugFlag, JsonFlag, setting
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa.slides import ExtractReport

_PATCHES, _ENCODER = "Patches", "Encoder and speed"
_MOST_ROWS = 40


def extract(
    out: Annotated[Path, typer.Option("--out", "-o", help="Job folder to write.")],
    slides: Annotated[
        list[Path] | None, typer.Argument(help="Slides, or folders of slides.", show_default=False)
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="CSV of slides, with their mpp where they lack it.")
    ] = None,
    mpp: Annotated[float | None, setting(ExtractSettings, "mpp", panel=_PATCHES)] = None,
    patch_size: Annotated[
        int | None, setting(ExtractSettings, "patch_size", panel=_PATCHES)
    ] = None,
    overlap: Annotated[int | None, setting(ExtractSettings, "overlap", panel=_PATCHES)] = None,
    slide_mpp: Annotated[
        float | None, setting(ExtractSettings, "slide_mpp", panel=_PATCHES)
    ] = None,
    min_tissue: Annotated[
        float | None, setting(ExtractSettings, "min_tissue", panel=_PATCHES)
    ] = None,
    max_failed: Annotated[
        float | None, setting(ExtractSettings, "max_failed", panel=_PATCHES)
    ] = None,
    encoder: Annotated[str | None, setting(ExtractSettings, "encoder", panel=_ENCODER)] = None,
    weights: Annotated[Path | None, setting(ExtractSettings, "weights", panel=_ENCODER)] = None,
    dtype: Annotated[str | None, setting(ExtractSettings, "dtype", panel=_ENCODER)] = None,
    batch_size: Annotated[
        int | None, setting(ExtractSettings, "batch_size", panel=_ENCODER)
    ] = None,
    num_workers: Annotated[
        int | None, setting(ExtractSettings, "num_workers", panel=_ENCODER)
    ] = None,
    device: Annotated[str | None, setting(ExtractSettings, "device", panel=_ENCODER)] = None,
    overwrite: Annotated[bool | None, setting(ExtractSettings, "overwrite", "--overwrite")] = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Find tissue, cut it into patches at the true resolution, and encode them.

    Writes the layout of TRIDENT. Slides that are finished are skipped; one that cannot be read
    is named at the end, and the others go on.
    """
    output = Output(as_json)
    if not slides and manifest is None:
        raise UsageError("no slides were given", hint="name slides, folders, or a --manifest")
    flags = {
        "encoder": encoder,
        "weights": weights,
        "mpp": mpp,
        "patch_size": patch_size,
        "overlap": overlap,
        "slide_mpp": slide_mpp,
        "min_tissue": min_tissue,
        "max_failed": max_failed,
        "dtype": dtype,
        "batch_size": batch_size,
        "num_workers": num_workers,
        "device": device,
        "overwrite": overwrite,
    }
    settings = resolve(ExtractSettings, flags=flags, config=config)
    from tcssa.slides import extract as extract_slides
    from tcssa.slides import find_slides

    report = extract_slides(find_slides(slides or [], manifest), out, settings, output)
    output.result(_data(report), lambda console: show_report(console, report))
    if report.failed:
        raise typer.Exit(1)
    output.hint(f"next: tcssa train-mil --labels CSV --features {report.features_folder} --out RUN")


def show_report(console: Console, report: ExtractReport) -> None:
    """What became of every slide, and the sums."""
    rows = [
        [
            slide.slide_id,
            slide.status,
            slide.num_patches,
            slide.num_failed,
            None if slide.mpp is None else f"{slide.mpp:.4g}",
            slide.reason or "",
        ]
        # in a large cohort the table is of what went wrong
        for slide in report.slides
        if len(report.slides) <= _MOST_ROWS or slide.status in ("failed", "empty")
    ]
    if rows:
        header = ["slide", "status", "patches", "unreadable", "mpp", "remark"]
        console.print(make_table(None, header, rows))
    counts = ", ".join(
        f"{report.count(status)} {status}"
        for status in ("done", "skipped", "empty", "failed")
        if report.count(status)
    )
    console.print(
        f"{counts}; {report.num_patches:,} patches in {report.features_folder}", soft_wrap=True
    )
    if report.num_encoded:
        console.print(
            f"{report.num_encoded:,} patches encoded in {report.seconds:.1f} s: "
            f"{report.patches_per_s:.0f}/s end to end on {report.device}"
        )


def _data(report: ExtractReport) -> dict[str, object]:
    return {
        "features": report.features_folder,
        "slides": [asdict(slide) for slide in report.slides],
        "num_patches": report.num_patches,
        "num_encoded": report.num_encoded,
        "seconds": report.seconds,
        "patches_per_s": report.patches_per_s,
        "device": report.device,
    }
