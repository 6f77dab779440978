"""`tcssa encode`: an archive of patch features to slots."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from tcssa.budgets import Budget, parse_budget
from tcssa.config.settings import resolve
from tcssa.errors import UsageError
from tcssa.slides.settings import ExtractSettings
from tcssa_cli.commands.extract import report_data, show_report
from tcssa_cli.options import BudgetOption, DebugFlag, JsonFlag
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa_runtimes import EncodeReport


RuntimeName = Literal["auto", "torch", "onnx", "onnx-trt", "trt"]
"""Runtimes for the model."""


Device = Literal["auto", "cpu", "cuda"]
"""Devices for the model."""


def encode(
    features: Annotated[
        list[str] | None,
        typer.Argument(
            help="Feature files, folders or patterns: TRIDENT, CLAM, STAMP, AtlasPatch, LazySlide, "
            ".pt, .npy. Or slides and folders of slides, which are extracted on the way.",
            show_default=False,
        ),
    ] = None,
    *,
    model: Annotated[
        Path, typer.Option("--model", "-m", help="Artefact, run directory or checkpoint.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    runtime: Annotated[RuntimeName, typer.Option(help="auto goes by what the model is.")] = "auto",
    device: Annotated[
        Device,
        typer.Option(help="An unavailable device is an error; there is no silent CPU fallback."),
    ] = "auto",
    allow_cpu: Annotated[
        bool,
        typer.Option(
            "--allow-cpu", help="Run on the CPU where the GPU asked for is not there, and say so."
        ),
    ] = False,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Table of feature files: a CSV with a column path, or a path a line."),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Encode every N-th slide from the I-th, for job arrays."),
    ] = None,
    memory: Annotated[
        int, typer.Option(min=1, help="What features may take in memory, in MB.")
    ] = 2048,
    budget: BudgetOption = None,
    extract_config: Annotated[
        Path | None,
        typer.Option(help="Of slides: YAML of settings of tcssa extract, e.g. mpp."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Of slides: the patch encoder, if not the one the model names."),
    ] = None,
    tissue: Annotated[
        str | None, typer.Option(help="Of slides: how tissue is found, see tcssa extract.")
    ] = None,
    readers: Annotated[int, typer.Option(min=1, help="Threads that read.")] = 2,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Encode everything again.")
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Encode slides into slots: one file a slide with K tokens and where they lie, and an index.

    Slides that were encoded by this model from this very input are skipped. A slide that cannot
    be encoded is named at the end, and the others go on.
    """
    output = Output(as_json)
    slots = parse_budget(budget)
    if _are_slides(features or []):
        if runtime != "auto" or allow_cpu or shard:
            raise UsageError(
                "--runtime, --allow-cpu and --shard are for features",
                hint="processes that are given the same slides share them without --shard; or make "
                "features first with tcssa extract",
            )
        flags = {
            "device": device,
            "overwrite": overwrite or None,
            "encoder": encoder,
            "tissue": tissue,
        }
        settings = resolve(ExtractSettings, flags=flags, config=extract_config)
        _encode_slides(features or [], out, model, settings, manifest, output, slots)
        return
    if extract_config is not None or encoder is not None or tissue is not None:
        raise UsageError(
            "--extract-config, --encoder and --tissue are for slides, and these are features"
        )
    from tcssa_runtimes import Shard, open_runtime
    from tcssa_runtimes import encode as encode_bags

    part = None if shard is None else Shard.parse(shard)
    opened = open_runtime(model, runtime, device, allow_cpu=allow_cpu)
    opened.set_budget(slots)
    report = encode_bags(
        [Path(path) for path in features or []],
        out,
        opened,
        output,
        manifest=manifest,
        shard=part,
        memory_mb=memory,
        readers=readers,
        overwrite=overwrite,
    )
    output.result(
        {
            "folder": out,
            **asdict(report),
            "slides_per_s": report.slides_per_s,
            "patches_per_s": report.patches_per_s,
            "gb_per_s": report.gb_per_s,
            "shares": report.shares(),
        },
        lambda console: _show(console, out, part.suffix if part else "", report),
    )
    if report.failed:
        raise typer.Exit(1)


def _are_slides(inputs: list[str]) -> bool:
    """Tell whether the inputs are slides.

    Raises:
        UsageError: Some inputs are slides and some are not.
    """
    from tcssa.slides.manifest import are_slides

    slides = [place for place in inputs if are_slides(place)]
    if slides and len(slides) < len(inputs):
        other = next(place for place in inputs if place not in slides)
        raise UsageError(
            f"{slides[0]} is a slide or a folder of slides, and {other} is not",
            hint="encode slides and features in two calls",
        )
    return bool(slides)


def _encode_slides(
    inputs: list[str],
    out: Path,
    model: Path,
    settings: ExtractSettings,
    manifest: Path | None,
    output: Output,
    budget: Budget | None,
) -> None:
    from tcssa.slides import find_slides
    from tcssa_runtimes.archive.compress_slides import compress_slides

    files = find_slides(inputs, manifest)
    report, index = compress_slides(
        files, out, model, settings, output, slots_out=out, budget=budget
    )
    output.result(
        {**report_data(report), "folder": out, "index": index},
        lambda console: show_report(console, report, None, index),
    )
    if report.failed:
        raise typer.Exit(1)


def _show(console: Console, out: Path, suffix: str, report: EncodeReport) -> None:
    if report.failed:
        rows = [[str(failed.path), failed.reason, failed.hint or ""] for failed in report.failed]
        console.print(make_table("Not encoded", ["file", "reason", "what to do"], rows))
    renewed = f" ({report.num_renewed} of them anew)" if report.num_renewed else ""
    console.print(
        f"{report.num_encoded} slides encoded{renewed}, {report.num_skipped} were done, "
        f"{len(report.empty)} have no patches, {len(report.failed)} failed, with "
        f"{report.runtime}: {out}",
        soft_wrap=True,
    )
    if report.num_encoded:
        console.print(
            f"{report.num_patches:,} patches in {report.encode_s:.1f} s: "
            f"{report.slides_per_s:.1f} slides/s, {report.patches_per_s:,.0f} patches/s, "
            f"{report.gb_per_s:.2f} GB/s"
        )
        shares = ", ".join(f"{name} {share:.0%}" for name, share in report.shares().items())
        console.print(f"busy, of this time: {shares}")
    console.print(f"index: {out / f'index{suffix}.csv'}", soft_wrap=True)
