"""`tcssa extract`: whole-slide images to patch features."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from tcssa.budgets import parse_budget
from tcssa.config.settings import resolve
from tcssa.errors import UsageError
from tcssa.slides.settings import ExtractSettings
from tcssa_cli.options import ConfigFile, DebugFlag, JsonFlag
from tcssa_cli.output import Output, make_table
from tcssa_cli.settings_flags import Flags, with_flags

if TYPE_CHECKING:
    from tcssa.slides import ExtractReport

_SLOTS = "Slots"
_MOST_ROWS = 40


SlideNames = Literal["file", "path"]
"""Ways to name the slides that are found in a folder."""


_SETTINGS = (
    Flags(
        ExtractSettings,
        panel="Patches",
        names=(
            "mpp", "magnification", "patch_size", "overlap", "stride", "slide_mpp", "resample",
            "tissue", "mask", "keep_pen", "min_tissue", "max_failed",
        ),
    ),
    Flags(
        ExtractSettings,
        panel="Encoder and speed",
        names=("encoder", "weights", "dtype", "batch_size", "num_workers", "device"),
    ),
    Flags(ExtractSettings, panel="Reading", names=("reader", "cache", "cache_size")),
    Flags(ExtractSettings, names=("overwrite",)),
)  # fmt: skip


@with_flags(*_SETTINGS)
def extract(
    out: Annotated[Path, typer.Option("--out", "-o", help="Job folder to write.")],
    flags: dict[str, Any],
    slides: Annotated[
        list[str] | None,
        typer.Argument(help="Slides, folders of slides, or addresses.", show_default=False),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="CSV of slides, with their mpp where they lack it.")
    ] = None,
    names: Annotated[
        SlideNames,
        typer.Option(
            help="What slides of a folder are called: file, after their file; path, after the "
            "folders on the way to it too (sub__S), where several have the same name."
        ),
    ] = "file",
    compress: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Artefact, run or checkpoint: make slots of each slide in the same pass.",
            rich_help_panel=_SLOTS,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Slots that a slide becomes, see tcssa encode.",
            rich_help_panel=_SLOTS,
        ),
    ] = None,
    no_features: Annotated[
        bool,
        typer.Option(
            "--no-features", help="Keep the slots alone, no features.", rich_help_panel=_SLOTS
        ),
    ] = False,
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
    if budget is not None and compress is None:
        raise UsageError("--budget is of slots", hint="give a model with --compress MODEL")
    if no_features and compress is None:
        raise UsageError(
            "--no-features leaves nothing to write", hint="give a model with --compress MODEL"
        )
    settings = resolve(ExtractSettings, flags=flags, config=config)
    from tcssa.slides import find_slides

    files = find_slides(slides or [], manifest, names)
    if compress is None:
        from tcssa.slides import extract as extract_slides

        report = extract_slides(files, out, settings, output)
        index = None
    else:
        from tcssa_runtimes.archive.compress_slides import compress_slides

        report, index = compress_slides(
            files,
            out,
            compress,
            settings,
            output,
            keep_features=not no_features,
            budget=parse_budget(budget),
        )
    show_features = None if no_features else report.features_folder
    output.result(
        {**report_data(report), "features": show_features, "index": index},
        lambda console: show_report(console, report, show_features, index),
    )
    if report.failed:
        raise typer.Exit(1)
    if show_features is not None:
        output.hint(f"next: tcssa train-mil --labels CSV --features {show_features} --out RUN")


def show_report(
    console: Console, report: ExtractReport, features: Path | None, index: Path | None = None
) -> None:
    """Print what became of every slide, and the totals.

    Args:
        console: The console to print on.
        report: The extraction's report.
        features: Folder of the features, None if they were not kept.
        index: The table of the slots, None if none were made.
    """
    rows = [
        [
            slide.slide_id,
            slide.status,
            slide.num_patches,
            slide.num_failed,
            None if slide.mpp is None else f"{slide.mpp:.4g}",
            slide.reason or "",
        ]
        # in a large cohort the table lists only what went wrong
        for slide in report.slides
        if len(report.slides) <= _MOST_ROWS or slide.status in ("failed", "empty", "taken")
    ]
    if rows:
        header = ["slide", "status", "patches", "unreadable", "mpp", "remark"]
        console.print(make_table(None, header, rows))
    counts = ", ".join(
        f"{report.count(status)} {status}"
        for status in ("done", "skipped", "empty", "failed", "taken")
        if report.count(status)
    )
    where = "" if features is None else f" in {features}"
    console.print(f"{counts}; {report.num_patches:,} patches{where}", soft_wrap=True)
    if index is not None:
        console.print(f"slots: {index.parent / 'slide_features_tcssa'}, index: {index}")
    if report.num_encoded:
        console.print(
            f"{report.num_encoded:,} patches encoded in {report.seconds:.1f} s: "
            f"{report.patches_per_s:.0f}/s end to end on {report.device}"
        )
        shares = ", ".join(f"{name} {share:.0%}" for name, share in report.shares.items())
        console.print(f"busy, of this time: {shares}")


def report_data(report: ExtractReport) -> dict[str, object]:
    """Return what ``--json`` prints about an extraction."""
    return {
        "slides": [asdict(slide) for slide in report.slides],
        "num_patches": report.num_patches,
        "num_encoded": report.num_encoded,
        "seconds": report.seconds,
        "patches_per_s": report.patches_per_s,
        "device": report.device,
        "shares": report.shares,
    }
