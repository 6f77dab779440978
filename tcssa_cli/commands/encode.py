"""`tcssa encode`: an archive of patch features, or slides, to slots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import typer
from pydantic import Field
from rich.console import Console

from tcssa.budgets import Budget, parse_budget
from tcssa.config.settings import Section, resolve
from tcssa.errors import UsageError, counted
from tcssa.slides.settings import ExtractSettings
from tcssa_cli.commands.extract import report_data, show_report
from tcssa_cli.crew_options import (
    CREW,
    CrewOptions,
    crew_of,
    shares_data,
    show_shares,
    where_workers_find,
    where_workers_write,
)
from tcssa_cli.options import (
    BudgetOption,
    CaseOptions,
    DebugFlag,
    JsonFlag,
    OutOption,
    encoder_names,
)
from tcssa_cli.output import Output, show_failures
from tcssa_cli.settings_flags import Flags, given, refuse_others, with_flags
from tcssa_cli.watch_options import WATCH, WatchOptions

if TYPE_CHECKING:
    from tcssa.crew.dispatcher import Crew
    from tcssa.jobs.watch import Watch
    from tcssa_runtimes import EncodeOptions, EncodeReport, Runtime
    from tcssa_runtimes.archive.case_files import CaseFiles

Device = Literal["auto", "cpu", "cuda"]
"""Devices for the model."""


class FeatureOptions(Section):
    """Options for feature files."""

    runtime: Literal["auto", "torch", "onnx", "onnx-trt", "trt"] = Field(
        default="auto",
        description="What runs the model; auto: ONNX Runtime or TensorRT for an artefact, torch "
        "for a run or checkpoint.",
    )
    allow_cpu: bool = Field(
        default=False,
        description="Run on the CPU, with a warning, if the GPU asked for is not available.",
    )
    shard: str | None = Field(
        default=None,
        description="I/N, such as 2/8: encode every N-th slide, starting from the I-th, for job "
        "arrays.",
    )
    to: Literal["hdf5", "parquet"] = Field(
        default="hdf5",
        description="What to write. hdf5: a file a slide. parquet: a few files of many slides, for "
        "large archives and for pandas, DuckDB and datasets; needs tcssa[parquet].",
    )
    memory: int = Field(default=2048, ge=1, description="Memory for features, in MB.")
    readers: int = Field(default=2, ge=1, description="Threads that read.")


class ContentOptions(Section):
    """Options for what is kept of a slide."""

    assignments: bool = Field(
        default=False,
        description="Keep which slots each patch went to, 14 to 16 bytes a patch: tcssa heatmap "
        "then draws without features.",
    )


class SlideOptions(Section):
    """Options for slides, which are extracted on the way."""

    extract_config: Path | None = Field(
        default=None, description="YAML file with settings of tcssa extract, such as mpp."
    )
    encoder: str | None = Field(
        default=None, description="Patch encoder. [default: the one that the model names]"
    )
    tissue: str | None = Field(
        default=None,
        description="How tissue is found: otsu, texture, all, or module:factory; see tcssa "
        "extract. [default: otsu]",
    )
    stage: str | None = Field(
        default=None,
        description="DIR[:GB]: copy slides of a slow disk here ahead of their turn; see tcssa "
        "extract.",
    )


class PatientOptions(CaseOptions):
    """Options for files of patients."""

    by: Literal["slide", "case"] = Field(
        default="slide",
        description="case: also write one file a patient, the merge of the slides' files.",
    )


_CONTENT = Flags(ContentOptions, at="content")
_PATIENTS = Flags(PatientOptions, at="patients", panel="Patients")
_GROUPS = (
    Flags(FeatureOptions, at="features", panel="Feature files"),
    Flags(SlideOptions, at="slides", panel="Slides", completed={"encoder": encoder_names}),
)


InputsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FEATURES|SLIDES",
        help="Feature files, folders or patterns: TRIDENT, CLAM, STAMP, AtlasPatch, LazySlide, "
        ".pt, .npy. Or slides and folders of slides, which are extracted on the way.",
        show_default=False,
    ),
]
RuntimeDeviceOption = Annotated[
    Device,
    typer.Option(
        help="auto: the GPU for engines, the CPU for ONNX, and for torch a GPU if there is "
        "one. A device that was asked for and is not available is an error."
    ),
]


@with_flags(_CONTENT, _PATIENTS, CREW, WATCH, *_GROUPS)
def encode(
    flags: dict[str, Any],
    inputs: InputsArgument = None,
    *,
    model: Annotated[
        Path,
        typer.Option(
            "--model",
            "-m",
            help="Artefact, run directory or checkpoint, or hf:OWNER/NAME of one.",
        ),
    ],
    out: OutOption,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Table of inputs: a CSV with a column path, or one path per line."),
    ] = None,
    device: RuntimeDeviceOption = "auto",
    budget: BudgetOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Encode slides again that are done already.")
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Encode slides into slots: one file per slide, with K tokens and their places, and an index.

    Slides that this model has already encoded from the same input are skipped. A slide that cannot
    be encoded is named at the end; the others are encoded.

    Examples:
        tcssa encode job --model artefact --out encoded
        tcssa encode slides/ --model run --out encoded
        tcssa encode job --model artefact --out encoded --shard 1/8
        tcssa encode job --model artefact --out encoded --to parquet
        tcssa encode job --model artefact --out encoded --gpus all
        tcssa encode s3://bucket/features --model artefact --out s3://bucket/encoded
        tcssa encode job --model run --out encoded --by case --cases patients.csv
    """
    output, shared = Output(as_json), given(CrewOptions, flags["crew"])
    from tcssa.files.output_folder import output_folder
    from tcssa.hub import local_model
    from tcssa.slides.manifest import are_all_slides

    places = [where_workers_find(place, shared) for place in inputs or []]
    model = Path(where_workers_find(str(local_model(model, output)), shared))
    with output_folder(out, output) as scratch:
        folder = where_workers_write(scratch, shared)
        crew = crew_of(shared, device, folder)
        common = _Common.of(
            flags, manifest, parse_budget(budget), device, crew, output, overwrite=overwrite
        )
        work = _encode_slides if are_all_slides(places) else _encode_features
        done = work(places, folder, model, flags, output, common)
    output.result(done.data, done.show)
    if done.has_failures:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Done:
    """Result of a call, and how it is shown."""

    data: dict[str, Any]
    show: Callable[[Console], None]
    has_failures: bool


@dataclass(frozen=True)
class _Common:
    """Options for features and for slides."""

    manifest: Path | None
    budget: Budget | None
    device: Device
    overwrite: bool
    assignments: bool
    crew: Crew | None
    cases: CaseFiles | None
    watch: Watch

    @classmethod
    def of(
        cls,
        flags: dict[str, Any],
        manifest: Path | None,
        budget: Budget | None,
        device: Device,
        crew: Crew | None,
        output: Output,
        *,
        overwrite: bool,
    ) -> Self:
        """Return them, those of `flags` among them."""
        assignments = given(ContentOptions, flags["content"]).assignments
        cases = _cases(given(PatientOptions, flags["patients"]), output)
        watch = given(WatchOptions, flags["watch"]).watch()
        return cls(manifest, budget, device, overwrite, assignments, crew, cases, watch)


def _cases(options: PatientOptions, output: Output) -> CaseFiles | None:
    """Return the patients whose files are to be merged; None by slide.

    Raises:
        UsageError: Patients are named, but not asked for.
        TableError: Their table is faulty.
    """
    if options.by == "slide":
        if options.cases is not None:
            raise UsageError("--cases is of no use without --by case")
        return None
    from tcssa.features.patients import read_cases
    from tcssa_runtimes.archive.case_files import CaseFiles

    return CaseFiles({} if options.cases is None else read_cases(options.cases, output))


def _open(model: Path, options: FeatureOptions, common: _Common) -> Runtime:
    from tcssa_runtimes import open_runtime

    runtime = open_runtime(model, options.runtime, common.device, allow_cpu=options.allow_cpu)
    runtime.set_budget(common.budget)
    return runtime


def _how(options: FeatureOptions, common: _Common, model: Path) -> EncodeOptions:
    from tcssa_runtimes import EncodeOptions, Shard
    from tcssa_runtimes.archive.encode_options import EncodeWorkers
    from tcssa_runtimes.archive.shared_job import ModelChoice

    choice = ModelChoice(model, options.runtime, options.allow_cpu, common.budget)
    return EncodeOptions(
        manifest=common.manifest,
        shard=None if options.shard is None else Shard.parse(options.shard),
        memory_mb=options.memory,
        readers=options.readers,
        assignments=common.assignments,
        overwrite=common.overwrite,
        to=options.to,
        workers=None if common.crew is None else EncodeWorkers(common.crew, choice),
        cases=common.cases,
        watch=common.watch,
    )


def _encode_features(
    inputs: list[str],
    out: Path,
    model: Path,
    flags: dict[str, Any],
    output: Output,
    common: _Common,
) -> _Done:
    refuse_others(_GROUPS, ["features"], flags, "the inputs are feature files")
    from tcssa_runtimes import encode as encode_bags

    options = given(FeatureOptions, flags["features"])
    runtime, how = _open(model, options, common), _how(options, common, model)
    report = encode_bags([Path(place) for place in inputs], out, runtime, output, how)
    suffix = "" if how.shard is None else how.shard.suffix
    return _Done(
        {**_data(out, report), **_case_data(how.cases)},
        lambda console: _show(console, out, suffix, report, how.cases),
        bool(report.failed),
    )


def _data(out: Path, report: EncodeReport) -> dict[str, Any]:
    return {
        "folder": out,
        **asdict(report),
        "workers": shares_data(report.workers),
        "slides_per_s": report.slides_per_s,
        "patches_per_s": report.patches_per_s,
        "gb_per_s": report.gb_per_s,
        "shares": report.shares(),
    }


def _case_data(cases: CaseFiles | None) -> dict[str, Any]:
    if cases is None:
        return {}
    return {"num_cases_merged": cases.num_merged, "num_cases_skipped": cases.num_skipped}


def _encode_slides(
    inputs: list[str],
    out: Path,
    model: Path,
    flags: dict[str, Any],
    output: Output,
    common: _Common,
) -> _Done:
    refuse_others(_GROUPS, ["slides"], flags, f"{inputs[0]} is a slide or a folder of slides")
    from tcssa.slides import find_slides
    from tcssa_runtimes.archive.compress_slides import CompressOptions, compress_slides

    extraction = dict(flags["slides"], device=common.device, overwrite=common.overwrite or None)
    config = extraction.pop("extract_config")
    settings = resolve(ExtractSettings, config=config, flags=extraction)
    files = find_slides(inputs, common.manifest, reporter=output)
    cases = common.cases
    how = CompressOptions(
        slots_out=out,
        budget=common.budget,
        assignments=common.assignments,
        crew=common.crew,
        cases=cases,
        watch=common.watch,
    )
    report, index = compress_slides(files, out, model, settings, output, how)

    def show(console: Console) -> None:
        show_report(console, report, None, index)
        _show_cases(console, out, cases)

    return _Done(
        {**report_data(report), **_case_data(cases), "folder": out, "index": index},
        show,
        bool(report.failed or (cases is not None and cases.failed)),
    )


def _show_cases(console: Console, out: Path, cases: CaseFiles | None) -> None:
    if cases is not None:
        console.print(
            f"{counted(cases.num_merged, 'patient')} merged, {cases.num_skipped} done before, "
            f"{len(cases.failed)} failed: {out / 'cases.csv'}",
            soft_wrap=True,
        )


def _show(
    console: Console, out: Path, suffix: str, report: EncodeReport, cases: CaseFiles | None
) -> None:
    show_failures(console, [(failed.reason, failed.path, failed.hint) for failed in report.failed])
    renewed = f" ({report.num_renewed} of them again)" if report.num_renewed else ""
    taken = f"{len(report.taken)} taken by other processes, " if report.taken else ""
    console.print(
        f"{counted(report.num_encoded, 'slide')} encoded{renewed}, {report.num_skipped} done "
        f"before, {len(report.empty)} without patches, {taken}{len(report.failed)} failed, with "
        f"{report.runtime}: {out}",
        soft_wrap=True,
    )
    if report.num_encoded:
        console.print(
            f"{counted(report.num_patches, 'patch')} in {report.encode_s:.1f} s: "
            f"{report.slides_per_s:.1f} slides/s, {report.patches_per_s:,.0f} patches/s, "
            f"{report.gb_per_s:.2f} GB/s"
        )
        shares = ", ".join(f"{name} {share:.0%}" for name, share in report.shares().items())
        console.print(f"busy, of this time: {shares}")
    show_shares(console, report.workers)
    console.print(f"index: {out / f'index{suffix}.csv'}", soft_wrap=True)
    _show_cases(console, out, cases)
