"""`tcssa eval --benchmark`: score a slide language model, or another system's answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from rich.console import Console

from tcssa.config.settings import Section
from tcssa.errors import UsageError, counted
from tcssa.vqa.endpoint.endpoint_settings import EndpointOptions
from tcssa.vqa.settings import BenchmarkKind, EvalOptions, LanguageModelOptions
from tcssa_cli.crew_options import (
    CrewOptions,
    crew_of,
    shares_data,
    show_shares,
    where_workers_find,
)
from tcssa_cli.output import Output, make_table
from tcssa_cli.settings_flags import given

if TYPE_CHECKING:
    from tcssa.vqa.evaluation.report import Report

_GROUPS = {"broad": "broad category", "narrow": "narrow category"}
_CONTROLS = {"blank": "blank slots", "other_slide": "slots of another slide"}


class BenchmarkOptions(Section):
    """The benchmark, and other evaluations on it."""

    benchmark: tuple[BenchmarkKind, Path] | None = Field(
        default=None, description="Benchmark, and the file with its questions."
    )
    compare: list[Path] = Field(
        default=[],
        description="Folder of another evaluation on the same file, to show in the plot; "
        "repeat it for more.",
    )

    @property
    def required(self) -> tuple[BenchmarkKind, Path]:
        """The benchmark and its file.

        Raises:
            UsageError: No benchmark was given.
        """
        if self.benchmark is None:
            raise UsageError(
                "what answers questions is scored on a benchmark",
                hint="give --benchmark NAME FILE, such as slidebench-tcga SlideBench-VQA-TCGA.csv",
            )
        return self.benchmark


class PredictionOptions(Section):
    """The answers of another system."""

    predictions: Path | None = Field(
        default=None,
        description="File of answers (CSV, JSON or JSONL) to score on --benchmark, without a run.",
    )
    answer_column: str | None = Field(
        default=None,
        description="Column of the answers, where their name does not tell. [default: a usual one]",
    )


def evaluate_vqa(
    output: Output,
    run: Path,
    *,
    features: list[Path],
    out: Path | None,
    device: str,
    benchmark: Mapping[str, Any],
    asked: Mapping[str, Any],
    llm: Mapping[str, Any],
    endpoint: Mapping[str, Any],
    crew: Mapping[str, Any],
) -> None:
    """Score a run of train-vqa on a benchmark.

    Args:
        output: Receives progress and the result.
        run: The run directory.
        features: Folders of the slides' patch features.
        out: Folder to write; one in the run if None.
        device: Device of the models.
        benchmark: Flags of `BenchmarkOptions`.
        asked: Flags of `tcssa.vqa.settings.EvalOptions`.
        llm: Flags of `LanguageModelOptions`.
        endpoint: Flags of `EndpointOptions`.
        crew: Flags of `CrewOptions`.

    Raises:
        UsageError: The benchmark or the features are missing.
    """
    options = given(BenchmarkOptions, benchmark)
    kind, file = options.required
    if not features:
        raise UsageError(
            "the slides' features are missing", hint="give their folder with --features DIR"
        )
    from tcssa.vqa.evaluation.evaluate import evaluate

    workers, model = given(CrewOptions, crew), given(LanguageModelOptions, llm)
    if model.llm is not None and Path(model.llm).exists():
        model = model.model_copy(update={"llm": where_workers_find(model.llm, workers)})
    beside = _read_reports(options.compare)
    report = evaluate(
        Path(where_workers_find(str(run), workers)),
        kind,
        file,
        [Path(where_workers_find(str(folder), workers)) for folder in features],
        output,
        given(EvalOptions, asked),
        source=model,
        device=device,
        endpoint=given(EndpointOptions, endpoint),
        out=out,
        crew=crew_of(workers, device, out or run),
    )
    _show_beside(output, report, beside)


def evaluate_predictions(
    output: Output,
    _run: None,
    *,
    out: Path | None,
    benchmark: Mapping[str, Any],
    predictions: Mapping[str, Any],
    **_of_runs: None,
) -> None:
    """Score another system's answers on a benchmark.

    Args:
        output: Receives progress and the result.
        out: Folder to write.
        benchmark: Flags of `BenchmarkOptions`.
        predictions: Flags of `PredictionOptions`.

    Raises:
        UsageError: The benchmark or the folder is missing.
    """
    options = given(BenchmarkOptions, benchmark)
    kind, file = options.required
    if out is None:
        raise UsageError("--predictions needs --out DIR: there is no run to write to")
    from tcssa.vqa.evaluation.score_predictions import evaluate_predictions as score

    beside = _read_reports(options.compare)
    asked = given(PredictionOptions, predictions)
    assert asked.predictions is not None
    report = score(asked.predictions, kind, file, output, out=out, column=asked.answer_column)
    _show_beside(output, report, beside)


def _read_reports(folders: list[Path]) -> list[Report]:
    from tcssa.vqa.evaluation.report import read_report

    return [read_report(folder) for folder in folders]


def _show_beside(output: Output, report: Report, beside: list[Report]) -> None:
    """Plot a report beside others, write its page, and print it."""
    from tcssa.vqa.evaluation.comparison import plot_comparison
    from tcssa.vqa.evaluation.report_page import write_report_page

    plot = plot_comparison(report, beside)
    page = write_report_page(report, plot)
    output.result(
        {
            "folder": str(report.folder),
            "plot": plot,
            "page": page,
            "workers": shares_data(report.shares),
            **report.metrics,
        },
        lambda console: show_report(console, report),
    )


def show_report(console: Console, report: Report) -> None:
    """Print the figures of an evaluation.

    Args:
        console: The console to print on.
        report: The evaluation's report.
    """
    metrics = report.metrics
    benchmark = metrics["benchmark"]
    limit = metrics["asked"].get("limit")
    console.print(
        f"{benchmark['kind']}: {benchmark['version']}, SHA-256 {benchmark['sha256'][:12]}…, "
        f"{counted(metrics['asked']['num_questions'], 'question')} asked"
        + (f" (the first {limit} only: no benchmark figure)" if limit else ""),
        soft_wrap=True,
    )
    if metrics["scores"]:
        _show_scores(console, metrics)
    if metrics["permutation"]:
        _show_permutation(console, metrics["permutation"])
    if metrics["open"]:
        _show_open(console, metrics["open"])
    statuses = ", ".join(f"{n} {status}" for status, n in metrics["statuses"].items())
    left_out = ", ".join(f"{n} {kind}" for kind, n in benchmark["faults"].items())
    console.print(f"rows: {statuses}" + (f"; faults of the file: {left_out}" if left_out else ""))
    show_shares(console, report.shares)
    console.print(f"answers, metrics, plot and report.html: {report.folder}", soft_wrap=True)


def _show_scores(console: Console, metrics: dict[str, Any]) -> None:
    overall = metrics["scores"]["overall"]
    rows: list[list[object]] = [[metrics["system"]["name"], *_cells(overall)]]
    if lenient := metrics["lenient"]:
        title = f"read leniently (+{lenient['num_more']})"
        rows.append([title, *_cells(lenient["overall"])])
    for name, title in _CONTROLS.items():
        control = metrics["controls"][name]
        if control is not None:
            rows.append([title, *_cells(control["overall"])])
    for baseline in metrics["baselines"]:
        fitted = baseline["fitted_on"]
        how = baseline["rule"] + ("" if fitted == "nothing" else f"; fitted on {fitted}")
        rows.append(
            [
                f"{baseline['name'].replace('_', ' ')} ({how})",
                *_cells(baseline["scores"]["overall"]),
            ]
        )
    header = ["", "accuracy, all rows", "95 % interval", "of answered", "invalid"]
    size = f"{counted(overall['num_rows'], 'row')} of {counted(overall['num_slides'], 'slide')}"
    console.print(make_table(f"Accuracy: {size}", header, rows))
    groups = metrics["scores"]["groups"]
    for category, tallies in groups.items():
        rows = [
            [value, tally["num_rows"], tally["num_slides"], *_cells(tally)]
            for value, tally in tallies.items()
        ]
        macro = metrics["scores"]["macro"].get(category)
        if macro:
            rows.append(["mean of these", "", "", macro["value"], _interval(macro), None, None])
        header = [_GROUPS.get(category, category), "rows", "slides", *header[-4:]]
        console.print(make_table(None, header, rows))


def _cells(tally: dict[str, Any]) -> list[object]:
    return [
        tally["accuracy"]["value"],
        _interval(tally["accuracy"]),
        tally["accuracy_answered"]["value"],
        tally["invalid_rate"],
    ]


def _interval(figure: dict[str, Any]) -> str:
    if figure["low"] is None or figure["high"] is None:
        return "–"
    return f"{figure['low']:.3f} – {figure['high']:.3f}"


def _show_permutation(console: Console, found: dict[str, Any]) -> None:
    rows = [
        [letter, figures["share"], figures["expected"], figures["accuracy"]]
        for letter, figures in found["letters"].items()
    ]
    header = ["letter", "answered", "without bias", "accuracy when right"]
    console.print(make_table("Options in every order", header, rows))
    mean = found.get("mean_of_orders")
    console.print(
        f"over all orders: accuracy {found['accuracy']:.3f}, the same option in every order "
        f"{found['consistency']:.3f}"
        + (f", accuracy of the mean over orders {mean['value']:.3f}" if mean else "")
    )


def _show_open(console: Console, found: dict[str, Any]) -> None:
    names = ["exact", "bleu1", "bleu4", "rouge1", "rouge2", "rouge_l"]
    console.print(
        make_table(
            f"Open questions: {counted(found['num_texts'], 'row')}",
            [name.replace("_", "-").upper() for name in names],
            [[found[name] for name in names]],
        )
    )
