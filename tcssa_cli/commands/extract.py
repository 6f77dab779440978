"""`tcssa extract`: whole-slide images to patch features."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import Field
from rich.console import Console

from tcssa.budgets import parse_budget
from tcssa.config.settings import Section, resolve
from tcssa.errors import UsageError, counted
from tcssa.slides.settings import ExtractSettings
from tcssa_cli.crew_options import (
    CREW,
    CrewOptions,
    crew_of,
    shares_data,
    show_shares,
    where_workers_find,
    where_workers_write,
)
from tcssa_cli.options import ConfigFile, DebugFlag, JsonFlag, OutOption, encoder_names
from tcssa_cli.output import Output, make_table, show_failures
from tcssa_cli.settings_flags import Flags, given, with_flags
from tcssa_cli.watch_options import WATCH, WatchOptions

if TYPE_CHECKING:
    from tcssa.crew.dispatcher import Crew
    from tcssa.jobs.watch import Watch
    from tcssa.slides import ExtractReport
    from tcssa.slides.manifest import SlideFile

_MOST_ROWS = 40


class SlotOptions(Section):
    """Slots that are made in the same pass."""

    compress: Path | None = Field(
        default=None,
        description="Model (artefact, run or checkpoint, or hf:OWNER/NAME of one) that makes slots "
        "of each slide in the same pass.",
    )
    budget: str | None = Field(
        default=None,
        description="Number of slots a slide becomes, or auto; see tcssa encode. [default: all]",
    )
    no_features: bool = Field(default=False, description="Keep the slots, but not the features.")


SlideNames = Literal["file", "path"]
"""Ways to name the slides that are found in a folder."""


_SETTINGS = (
    Flags(
        ExtractSettings,
        panel="Patches",
        names=(
            "mpp", "magnification", "patch_size", "overlap", "stride", "slide_mpp", "fallback_mpp",
            "force_mpp", "trident_scale", "resample", "tissue", "mask", "mask_class",
            "mask_background", "mask_origin", "keep_pen", "min_tissue", "max_failed",
        ),
        completed={"tissue": lambda: ["otsu", "texture", "all"]},
    ),
    Flags(
        ExtractSettings,
        panel="Encoder and speed",
        names=("encoder", "weights", "dtype", "batch_size", "readers", "device"),
        completed={"encoder": encoder_names},
    ),
    Flags(
        ExtractSettings,
        panel="Reading",
        names=("reader", "scene", "cache", "cache_size", "stage"),
        completed={"reader": lambda: ["openslide", "tiff", "tiffslide", "zarr", "image", "cucim"]},
    ),
    Flags(ExtractSettings, names=("overwrite",)),
)  # fmt: skip


@with_flags(*_SETTINGS, CREW, WATCH, Flags(SlotOptions, at="slots", panel="Slots"))
def extract(
    out: OutOption,
    flags: dict[str, Any],
    slides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Slides, folders of slides, or addresses such as s3://…", show_default=False
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="CSV or TSV of slides, and their level-0 resolution (mpp) if they state none."
        ),
    ] = None,
    names: Annotated[
        SlideNames,
        typer.Option(
            help="How slides in a folder are named: file, by their file; path, by the folders "
            "above it too (sub__S), for files of the same name."
        ),
    ] = "file",
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Find tissue, cut it into patches at their true resolution, and encode them.

    Writes the layout of TRIDENT. Slides that are done already are skipped; a slide that cannot be
    read is named at the end, and the others are extracted.

    Examples:
        tcssa extract slides/ --out job
        tcssa extract slides/ --out job --encoder uni_v2 --mpp 0.5
        tcssa extract --manifest slides.csv --out job --compress run
        tcssa extract slides/ --out job --gpus all
        tcssa extract s3://bucket/slides/S.svs --out s3://bucket/job
    """
    output, slots = Output(as_json), given(SlotOptions, flags.pop("slots"))
    shared = given(CrewOptions, flags.pop("crew"))
    watch = given(WatchOptions, flags.pop("watch")).watch()
    if not slides and manifest is None:
        raise UsageError("no slides were given", hint="name slides, folders, or a --manifest")
    _require_model(slots)
    settings = resolve(ExtractSettings, flags=flags, config=config)
    from tcssa.slides import find_slides

    places = [where_workers_find(place, shared) for place in slides or []]
    files = find_slides(places, manifest, names, output)
    report, index = _extract(files, out, settings, output, slots, shared, watch)
    features = None if slots.no_features else report.features_folder
    output.result(
        {**report_data(report), "features": features, "index": index},
        lambda console: show_report(console, report, features, index),
    )
    if report.failed:
        raise typer.Exit(1)
    if features is not None:
        output.hint(f"next: tcssa train-mil --labels CSV --features {features} --out RUN")


def _require_model(slots: SlotOptions) -> None:
    """Refuse options of slots where no model makes any."""
    for flag, is_given in (("--budget", slots.budget), ("--no-features", slots.no_features)):
        if is_given and slots.compress is None:
            raise UsageError(f"{flag} is for slots", hint="give a model with --compress MODEL")


def _extract(
    files: list[SlideFile],
    out: Path,
    settings: ExtractSettings,
    output: Output,
    slots: SlotOptions,
    shared: CrewOptions,
    watch: Watch,
) -> tuple[ExtractReport, Path | None]:
    """Extract slides; return the report, and the table of their slots if these are made."""
    from tcssa.files.output_folder import output_folder

    with output_folder(out, output) as folder:
        job = where_workers_write(folder, shared)
        crew = crew_of(shared, settings.device, job)
        if slots.compress is not None:
            from tcssa.hub import local_model

            model = local_model(slots.compress, output)
            return _compress(files, job, model, settings, output, slots, crew, watch)
        from tcssa.slides import ExtractOptions
        from tcssa.slides import extract as extract_slides
        from tcssa.slides.extraction.extract_options import ExtractWorkers

        workers = None if crew is None else ExtractWorkers(crew)
        options = ExtractOptions(workers=workers, watch=watch)
        return extract_slides(files, job, settings, output, options), None


def _compress(
    files: list[SlideFile],
    job: Path,
    model: Path,
    settings: ExtractSettings,
    output: Output,
    slots: SlotOptions,
    crew: Crew | None,
    watch: Watch,
) -> tuple[ExtractReport, Path]:
    """Extract slides and make slots of them in the same pass."""
    from tcssa_runtimes.archive.compress_slides import CompressOptions, compress_slides

    how = CompressOptions(
        keep_features=not slots.no_features,
        budget=parse_budget(slots.budget),
        crew=crew,
        watch=watch,
    )
    return compress_slides(files, job, model, settings, output, how)


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
        ]
        # in a large cohort the table lists only what went wrong
        for slide in report.slides
        if len(report.slides) <= _MOST_ROWS or slide.status in ("failed", "empty", "taken")
    ]
    if rows:
        header = ["slide", "status", "patches", "unreadable", "µm/px"]
        console.print(make_table(None, header, rows))
    for slide in report.slides:
        if slide.reason:
            reason = slide.reason.removesuffix(f" ({slide.hint})")
            show_failures(console, [(reason, slide.path, slide.hint)], slide.status)
    counts = ", ".join(
        f"{report.count(status)} {status}"
        for status in ("done", "skipped", "empty", "failed", "taken")
        if report.count(status)
    )
    where = "" if features is None else f" in {features}"
    console.print(f"{counts}; {counted(report.num_patches, 'patch')}{where}", soft_wrap=True)
    if index is not None:
        console.print(f"slots: {index.parent / 'slide_features_tcssa'}, index: {index}")
    if report.num_encoded:
        console.print(
            f"{counted(report.num_encoded, 'patch')} encoded in {report.seconds:.1f} s: "
            f"{report.patches_per_s:.0f}/s end to end on {report.device}"
        )
        shares = ", ".join(f"{name} {share:.0%}" for name, share in report.shares.items())
        console.print(f"busy, of this time: {shares}")
    if report.staged:
        console.print(f"staged: {', '.join(f'{n} {how}' for how, n in report.staged.items())}")
    show_shares(console, report.workers)


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
        "staged": report.staged,
        "workers": shares_data(report.workers),
    }
