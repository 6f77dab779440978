"""`tcssa convert`: patch features in the layout of another tool."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from tcssa.errors import UsageError, counted
from tcssa_cli.options import DebugFlag, JsonFlag, out_option
from tcssa_cli.output import Output, show_failures

if TYPE_CHECKING:
    from tcssa.features.convert import ConvertReport


LayoutName = Literal["trident", "clam", "stamp", "hdf5", "parquet"]
"""Tools whose layout can be written, and what an encoded archive can be made of."""
DtypeName = Literal["float32", "float16"]
"""Types that features are stored in."""
SlideMppOption = Annotated[
    float | None,
    typer.Option(
        min=0.05,
        max=20.0,
        metavar="<float>",
        help="Level-0 resolution of all slides, in µm per pixel.",
    ),
]
DtypeOption = Annotated[
    DtypeName | None,
    typer.Option(
        help="Type to store features in, for TRIDENT. [default: float16 stays, all else is "
        "float32; CLAM's are float32, STAMP's float16]",
        show_default=False,
    ),
]


def convert(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SRC...",
            help="Feature files and folders; PATH::NAME names one of several sets. Or one archive "
            "that tcssa encode wrote.",
        ),
    ],
    *,
    to: Annotated[
        LayoutName, typer.Option(help="Layout to write; of an encoded archive, hdf5 or parquet.")
    ],
    out: Annotated[Path, out_option("Folder to write.")],
    slide_mpp: SlideMppOption = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Table of the slides' resolutions: wsi or slide_id, and mpp."),
    ] = None,
    dtype: DtypeOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write slides again that are there already.")
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Convert patch features to the layout of TRIDENT, CLAM or STAMP, or an encoded archive.

    Slides that are there already are skipped. A slide that cannot be converted is named at the
    end; the others are converted.

    Examples:
        tcssa convert job --to clam --out clam-job
        tcssa convert clam-job --to trident --slide-mpp 0.25 --out trident-job
        tcssa convert encoded --to parquet --out encoded-parquet
    """
    output = Output(as_json)
    if to in ("hdf5", "parquet"):
        if len(sources) != 1 or (slide_mpp, manifest, dtype) != (None, None, None):
            raise UsageError(
                f"--to {to} converts one encoded archive, as it is",
                hint="give its folder, and neither --slide-mpp nor --manifest nor --dtype",
            )
        from tcssa_runtimes.archive.convert_archive import convert_archive

        _finish(output, out, convert_archive(sources[0], to, out, output, overwrite=overwrite))
        return
    from tcssa.features.convert import convert as convert_bags

    report = convert_bags(
        sources,
        to,
        out,
        output,
        slide_mpp=slide_mpp,
        resolutions=_resolutions(manifest),
        dtype=dtype,
        overwrite=overwrite,
    )
    _finish(output, out, report)


def _resolutions(manifest: Path | None) -> dict[str, float]:
    """Return the resolution of each slide that a table states."""
    if manifest is None:
        return {}
    from tcssa.slides.manifest import read_resolutions

    return read_resolutions(manifest)


def _finish(output: Output, out: Path, report: ConvertReport) -> None:
    output.result({"folder": out, **asdict(report)}, lambda console: _show(console, out, report))
    if report.failed:
        raise typer.Exit(1)


def _show(console: Console, out: Path, report: ConvertReport) -> None:
    show_failures(console, [(failed.reason, failed.path, failed.hint) for failed in report.failed])
    console.print(
        f"{counted(report.num_converted, 'slide')} converted "
        f"({counted(report.num_patches, 'patch')}), {report.num_skipped} done before, "
        f"{len(report.empty)} without patches, {len(report.failed)} failed: {out}",
        soft_wrap=True,
    )
