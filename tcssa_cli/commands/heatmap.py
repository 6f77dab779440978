"""`tcssa heatmap`: what in a slide a prediction rests on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import Field
from rich.console import Console

from tcssa.config.settings import Section
from tcssa.errors import counted
from tcssa_cli.options import DebugFlag, DeviceOption, JsonFlag, encoder_names, out_option
from tcssa_cli.output import Output, show_failures
from tcssa_cli.settings_flags import Flags, given, refuse_others, with_flags

if TYPE_CHECKING:
    from tcssa.mil.heatmaps.heatmaps import Heatmaps
    from tcssa.mil.heatmaps.pictures import Look
    from tcssa.mil.heatmaps.sources import Source
    from tcssa.mil.prediction.given_slides import FailedSlide
    from tcssa.mil.results.finished import FinishedRun


class LookOptions(Section):
    """Options for what is drawn, and how."""

    shown: list[str] = Field(
        default=[],
        description="Class to draw the evidence for; repeat it for more. [default: the predicted "
        "one of each slide]",
    )
    scale: Literal["value", "percentile"] | None = Field(
        default=None,
        description="Colours by value, or by percentile among the slide's patches. [default: "
        "value for evidence, percentile for attention]",
    )
    same_scale: bool = Field(default=False, description="Draw all slides on one scale.")
    crops: int = Field(
        default=8, ge=0, le=50, description="Patches with most and with least evidence to show."
    )


class FeatureOptions(Section):
    """Options for features."""

    slides: Path | None = Field(
        default=None,
        description="Folder of the slides' own files, for pictures to draw on and for patches.",
    )


class SlideOptions(Section):
    """Options for slides, which are extracted on the way."""

    extract_config: Path | None = Field(
        default=None,
        description="YAML file with settings of tcssa extract. [default: as the run's features "
        "were extracted]",
    )
    encoder: str | None = Field(default=None, description="Patch encoder. [default: the run's]")
    weights: Path | None = Field(
        default=None, description="File of the encoder's weights; see tcssa extract."
    )
    fallback_mpp: float | None = Field(
        default=None,
        description="Level-0 resolution of the slides that state none, in µm per pixel.",
    )


_LOOK = Flags(LookOptions, at="look", panel="Pictures", spelled={"shown": "--class"})
_SOURCES = (
    Flags(FeatureOptions, at="features", panel="Features"),
    Flags(SlideOptions, at="slides", panel="Slides", completed={"encoder": encoder_names}),
)


@with_flags(_LOOK, *_SOURCES)
def heatmap(
    run: Annotated[
        Path,
        typer.Argument(help="Finished run of train-mil, of any method; or hf:OWNER/NAME of one."),
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="SLIDES|FEATURES|ARCHIVE",
            help="Slides and folders of slides, which are extracted on the way; features; or what "
            "tcssa encode --assignments wrote, which is drawn without features.",
        ),
    ],
    out: Annotated[Path, out_option("Folder to write.")],
    flags: dict[str, Any],
    model: Annotated[
        str | None,
        typer.Option(help="MODULE:FACTORY of a run of your own method, as given in training."),
    ] = None,
    device: DeviceOption = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Draw slides again that are done already.")
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Draw what in a slide speaks for a class: pictures, tables, GeoJSON, OME-TIFF, patches.

    Slides that are done already are skipped. A slide that cannot be drawn is named at the end; the
    others are drawn.

    Examples:
        tcssa heatmap run slides/ --out heatmaps
        tcssa heatmap run job --slides slides/ --out heatmaps --class LUSC
        tcssa heatmap run job --out heatmaps --same-scale
        tcssa heatmap run encoded --out heatmaps
    """
    output = Output(as_json)
    from tcssa.hub import local_model
    from tcssa.mil.heatmaps.heatmaps import draw_heatmaps
    from tcssa.mil.results.finished import read_finished
    from tcssa.run import HEATMAPS_FILE, require_own_folder

    require_own_folder(out, HEATMAPS_FILE)
    trained = read_finished(local_model(run, output))
    sources, failed = _sources(trained, inputs, out, flags, device, output)
    found = draw_heatmaps(
        trained,
        sources,
        out,
        output,
        look=_look(flags),
        failed=failed,
        overwrite=overwrite,
        device=device,
        model=model,
    )
    output.result(_plain(found), lambda console: _show(console, found))
    if found.failed:
        raise typer.Exit(1)


def _look(flags: dict[str, Any]) -> Look:
    from tcssa.mil.heatmaps.pictures import Look

    options = given(LookOptions, flags["look"]).model_dump()
    return Look(**{**options, "shown": tuple(options["shown"])})


def _sources(
    trained: FinishedRun,
    inputs: list[str],
    out: Path,
    flags: dict[str, Any],
    device: str,
    output: Output,
) -> tuple[list[Source], list[FailedSlide]]:
    from tcssa.features.remote_features import local_features
    from tcssa.mil.heatmaps.sources import JOB_FOLDER, of_archive, of_features, of_slides
    from tcssa.slides.manifest import are_all_slides
    from tcssa_runtimes.archive.stored_slides import find_stored, read_stored

    if (archive := find_stored(inputs)) is not None:
        refuse_others(_SOURCES, ["features"], flags, "the inputs are files of slots")
        return of_archive(archive, flags["features"]["slides"], read_stored), []
    if not are_all_slides(inputs):
        refuse_others(_SOURCES, ["features"], flags, "the inputs are features")
        here = [str(local_features(place, output)) for place in inputs]
        return of_features(here, flags["features"]["slides"]), []
    refuse_others(_SOURCES, ["slides"], flags, f"{inputs[0]} is a slide or a folder of slides")
    extraction = dict(flags["slides"], device=device)
    config = extraction.pop("extract_config")
    job = out / JOB_FOLDER
    return of_slides(inputs, job, trained, output, flags=extraction, config=config)


def _plain(found: Heatmaps) -> dict[str, Any]:
    return {
        "folder": found.folder,
        "page": found.page,
        "slides": [record.model_dump() for record in found.records],
        "skipped": found.num_skipped,
        "failed": [vars(each) for each in found.failed],
    }


def _show(console: Console, found: Heatmaps) -> None:
    show_failures(console, [(each.reason, each.slide_id, each.hint) for each in found.failed])
    drawn = counted(len(found.records) - found.num_skipped, "slide")
    console.print(f"{drawn} drawn, {found.num_skipped} done before, {len(found.failed)} failed")
    console.print(f"maps, tables and page: {found.page}", soft_wrap=True)
