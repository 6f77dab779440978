"""`tcssa predict`: slides without labels, through a trained run or an exported classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import Field
from rich.console import Console

from tcssa.config.settings import Section
from tcssa.errors import UsageError, counted
from tcssa_cli.crew_options import CrewOptions, crew_of, where_workers_find, where_workers_write
from tcssa_cli.options import (
    CaseOptions,
    DebugFlag,
    DeviceOption,
    JsonFlag,
    OutOption,
    TorchDevice,
    encoder_names,
)
from tcssa_cli.output import Output, make_table, show_failures
from tcssa_cli.settings_flags import Flags, given, refuse_others, with_flags

if TYPE_CHECKING:
    from tcssa.features import BagRef
    from tcssa.features.extraction_record import ExtractionRecord
    from tcssa.mil.calibration.record import Calibrations
    from tcssa.mil.prediction.given_slides import FailedSlide
    from tcssa.mil.prediction.predict import Predicted
    from tcssa.mil.prediction.predicted_rows import Columns, PredictedRow
    from tcssa.mil.prediction.slide_model import SlideModel
    from tcssa.mil.prediction.slide_pictures import MapMaker
    from tcssa.mil.results.finished import FinishedRun

_MOST_ROWS = 40


class RunOptions(Section):
    """Options for runs of train-mil."""

    model: str | None = Field(
        default=None,
        description="MODULE:FACTORY of a run of your own method, as given in training. Code that "
        "only the run names is not imported.",
    )


class ArtefactOptions(Section):
    """Options for artefacts."""

    runtime: Literal["auto", "onnx", "onnx-trt", "trt"] = Field(
        default="auto", description="What runs the artefact; auto: ONNX Runtime or TensorRT."
    )
    allow_cpu: bool = Field(
        default=False,
        description="Run on the CPU, with a warning, if the GPU asked for is not available.",
    )


class SlideOptions(Section):
    """Options for slides, whose features are extracted on the way."""

    extract_config: Path | None = Field(
        default=None,
        description="YAML file with settings of tcssa extract. [default: those of the features "
        "that the run was trained on]",
    )
    encoder: str | None = Field(
        default=None, description="Patch encoder. [default: the one that the model names]"
    )
    weights: Path | None = Field(
        default=None, description="File of the encoder's weights; see tcssa extract."
    )
    fallback_mpp: float | None = Field(
        default=None,
        description="Level-0 resolution of the slides that state none, in µm per pixel.",
    )
    manifest: Path | None = Field(
        default=None, description="Table of slides, and their resolution (mpp) if they state none."
    )


class ShownOptions(Section):
    """Options for what is shown."""

    calibrated: bool = Field(
        default=False,
        description="Show probabilities scaled by the run's temperature, which its artefact holds "
        "too; the predicted class stays.",
    )


class PatientOptions(CaseOptions):
    """Options for rows of patients."""

    by: Literal["slide", "case"] = Field(
        default="slide",
        description="case: also write one row a patient, the mean of the slides' logits. A run "
        "trained by case predicts patients, as it was trained: each is one bag.",
    )


_PATIENTS = Flags(PatientOptions, at="patients", panel="Patients")
_CREW = Flags(CrewOptions, at="crew", panel="Slides, by several workers")
_SHOWN = Flags(ShownOptions, at="shown", panel="Probabilities")
_GROUPS = (
    Flags(RunOptions, at="run", panel="Runs of train-mil"),
    Flags(ArtefactOptions, at="artefact", panel="Artefacts"),
    Flags(SlideOptions, at="slides", panel="Slides", completed={"encoder": encoder_names}),
    _CREW,
)


ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN|ARTEFACT",
        help="Run directory of train-mil, or artefact of export --what classifier; or "
        "hf:OWNER/NAME of one.",
        show_default=False,
    ),
]
InputsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SLIDES|FEATURES",
        help="Slides and folders of slides, or feature files of any layout that is read and "
        "folders of them.",
        show_default=False,
    ),
]


@with_flags(_PATIENTS, _SHOWN, *_GROUPS)
def predict(
    flags: dict[str, Any],
    model: ModelArgument,
    inputs: InputsArgument = None,
    *,
    out: OutOption,
    device: DeviceOption = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Predict slides again that are done already.")
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Predict slides that have no labels, with a trained classifier.

    Slides are extracted with the encoder, and at the resolution, of the features that the run was
    trained on. What is done already is not done again. A slide that cannot be predicted is named
    at the end; the others are predicted.

    Examples:
        tcssa predict run slides/ --out predicted
        tcssa predict run job --out predicted --by case --cases patients.csv
        tcssa predict artefact job --out predicted
        tcssa predict run s3://bucket/features --out s3://bucket/predicted
    """
    output = Output(as_json)
    from tcssa.features.patients import read_cases
    from tcssa.files.output_folder import output_folder
    from tcssa.hub import local_model
    from tcssa.mil.prediction.predict import predict as predict_slides
    from tcssa.run import PREDICTION_FILE, require_own_folder

    model = local_model(model, output)
    patients = given(PatientOptions, flags["patients"])
    known = None if patients.cases is None else read_cases(patients.cases, output)
    with output_folder(out, output) as folder:
        require_own_folder(folder, PREDICTION_FILE)
        with _opened(model, flags, output, device) as (opened, made, maps):
            bags, failed = _bags(inputs or [], flags, model, opened, made, folder, output, device)
            found = predict_slides(
                opened,
                bags,
                folder,
                output,
                cases=known,
                with_cases=patients.by == "case",
                overwrite=overwrite,
                failed=failed,
                maps=maps,
                calibrations=_calibrations(model),
                is_scaled=given(ShownOptions, flags["shown"]).calibrated,
            )
    output.result(_data(found), lambda console: _show(console, found))
    if found.failed:
        raise typer.Exit(1)


def _calibrations(model: Path) -> Calibrations:
    """Return the thresholds and temperatures of a run or an artefact."""
    from tcssa.artefact import Artefact, is_artefact
    from tcssa.mil.results.metrics_file import read_metrics

    if is_artefact(model):
        return Artefact.read(model, check=False).calibration  # its runtime has checked the files
    return read_metrics(model).calibration


@contextmanager
def _opened(
    model: Path, flags: dict[str, Any], output: Output, device: TorchDevice
) -> Iterator[tuple[SlideModel, Callable[[], ExtractionRecord], MapMaker | None]]:
    """Open what predicts, and yield it, what tells how its features were made, and draws maps."""
    from tcssa.artefact import is_artefact

    if is_artefact(model):
        from tcssa_runtimes import open_runtime
        from tcssa_runtimes.prediction.artefact_model import ArtefactModel

        refuse_others(_GROUPS, ("artefact", "slides", "crew"), flags, f"{model} is an artefact")
        if device == "mps":
            raise UsageError("artefacts run on the CPU or on CUDA, not on mps")
        options = given(ArtefactOptions, flags["artefact"])
        with open_runtime(model, options.runtime, device, allow_cpu=options.allow_cpu) as runtime:
            for note in runtime.notes:
                output.warn(note)
            yield ArtefactModel(runtime), lambda: runtime.facts.extraction, None
    else:
        from tcssa.mil.heatmaps.small_maps import SmallMaps
        from tcssa.mil.prediction.run_model import RunModel
        from tcssa.mil.results.finished import read_finished

        refuse_others(_GROUPS, ("run", "slides", "crew"), flags, f"{model} is no artefact")
        run = read_finished(model)
        if run.settings.cohort.unit == "case" and flags["patients"]["by"] == "slide":
            raise UsageError(f"{model} was trained by case: a patient is one bag, not a slide")
        own = given(RunOptions, flags["run"]).model
        opened = RunModel(run, output, device=device, model=own)
        yield opened, partial(_made, run), SmallMaps(opened)


def _made(run: FinishedRun) -> ExtractionRecord:
    from tcssa.mil.prediction.slide_extraction import extraction_of

    return extraction_of(run)


def _bags(
    inputs: list[str],
    flags: dict[str, Any],
    model: Path,
    opened: SlideModel,
    made: Callable[[], ExtractionRecord],
    out: Path,
    output: Output,
    device: TorchDevice,
) -> tuple[list[BagRef], list[FailedSlide]]:
    """Return the feature files, of slides after extracting them, and the slides that have none."""
    from tcssa.features import find_bags
    from tcssa.features.remote_features import local_features
    from tcssa.slides.manifest import are_all_slides

    options = given(SlideOptions, flags["slides"])
    if not inputs and options.manifest is None:
        raise UsageError("no slides were given", hint="give slides, or features, behind the model")
    if options.manifest is None and not are_all_slides(inputs):
        refuse_others(_GROUPS, ("run", "artefact"), flags, "the inputs are feature files")
        return find_bags(local_features(place, output) for place in inputs), []
    from tcssa.files.forwarding import store_of

    if store := store_of(out):
        raise UsageError(
            f"features of slides are read again from --out, and {store.address} is not this disk",
            hint="extract the slides first: tcssa extract SLIDES --out JOB, then give their "
            "features",
        )
    from tcssa.mil.prediction.slide_extraction import extract_slides, extraction_settings
    from tcssa.slides import find_slides

    told = {"device": "cpu" if device == "mps" else device} | options.model_dump(
        include={"encoder", "weights", "fallback_mpp"}
    )
    settings = extraction_settings(
        model, opened.encoder, made(), output, flags=told, config=options.extract_config
    )
    shared = given(CrewOptions, flags["crew"])
    places = [where_workers_find(place, shared) for place in inputs]
    files = find_slides(places, options.manifest, reporter=output)
    job = where_workers_write(out / "job", shared)
    return extract_slides(files, job, settings, output, crew_of(shared, device, job))


def _data(found: Predicted) -> dict[str, Any]:
    rows = {"slides": found.slides, **({} if found.cases is None else {"cases": found.cases})}
    header = found.columns.header
    named = {
        name: [
            {"name": row.name, "case_id": row.case_id}
            | dict(zip(header, found.columns.cells(row), strict=True))
            for row in of_kind
        ]
        for name, of_kind in rows.items()
    }
    failed = [asdict(slide) for slide in found.failed]
    done = {"num_done_before": found.num_done_before, "failed": failed}
    return {"folder": found.folder, **found.facts(), **done, **named}


def _show(console: Console, found: Predicted) -> None:
    rows = found.slides if found.cases is None else found.cases
    by_case = found.model.unit == "case"
    if rows:
        what = "slide" if found.cases is None and not by_case else "patient"
        columns = found.columns.narrowed(rows)
        header = [what, *map(_short, columns.header)]
        cells = [_cells(row, columns) for row in rows[:_MOST_ROWS]]
        console.print(make_table(None, header, cells))
    for reading in found.columns.narrowed(rows).readings():
        console.print(reading)
    if len(rows) > _MOST_ROWS:
        console.print(f"and {len(rows) - _MOST_ROWS} more, in the table")
    show_failures(console, [(each.reason, each.path, each.hint) for each in found.failed])
    console.print(
        f"{counted(len(found.slides), 'patient' if by_case else 'slide')} predicted by "
        f"{found.model.name} "
        f"({found.num_done_before} done before), {len(found.failed)} failed: {found.folder}",
        soft_wrap=True,
    )


def _short(column: str) -> str:
    """Return the header of a column in the terminal, which is narrow."""
    return {"num_patches": "patches", "unlike_share": "unlike", "at_threshold": "at thr."}.get(
        column, column.removeprefix("prob_")
    )


def _cells(row: PredictedRow, columns: Columns) -> list[object]:
    numbers = list(columns.shown(row))
    decided = [*columns.decided(row), *columns.at_thresholds(row), *columns.agreement(row)]
    return [row.name, *numbers, *decided, row.num_patches, row.outputs.unlike]
