"""`tcssa eval`: what a run is worth."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tcssa.errors import UsageError
from tcssa_cli.options import DebugFlag, JsonFlag, SeveralSlides, TorchDevice
from tcssa_cli.output import Output

_COHORT, _BENCHMARK = "Runs of train-mil", "Runs of train-vqa"


class BenchmarkKind(StrEnum):
    """Which question file it is."""

    SLIDEBENCH_TCGA = "slidebench-tcga"
    SLIDEBENCH_BCNB = "slidebench-bcnb"
    WSI_VQA = "wsi-vqa"


class MethodName(StrEnum):
    """How questions with options are answered."""

    LIKELIHOOD = "likelihood"
    TEXT = "text"
    GENERATE = "generate"


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(help="Run directory of train-mil or train-vqa.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Features of the new cohort, or of the benchmark's slides.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where to write metrics, answers and plots."),
    ] = None,
    device: Annotated[
        TorchDevice, typer.Option(help="Never replaced in silence.")
    ] = TorchDevice.AUTO,
    labels: Annotated[
        Path | None,
        typer.Option(help="Label table of another cohort.", rich_help_panel=_COHORT),
    ] = None,
    allow_overlap: Annotated[
        bool,
        typer.Option(
            help="Score a cohort that shares patients with training all the same.",
            rich_help_panel=_COHORT,
        ),
    ] = False,
    label_column: Annotated[
        str | None,
        typer.Option(
            help="Column of the label, if it is not called as in training.", rich_help_panel=_COHORT
        ),
    ] = None,
    case_column: Annotated[
        str | None,
        typer.Option(help="Column of the patient, likewise.", rich_help_panel=_COHORT),
    ] = None,
    skip_missing: Annotated[
        bool,
        typer.Option(
            help="Leave out slides without features or patches, and name them.",
            rich_help_panel=_COHORT,
        ),
    ] = False,
    benchmark: Annotated[
        tuple[BenchmarkKind, Path] | None,
        typer.Option(
            metavar="NAME FILE",
            help="Benchmark and its questions: slidebench-tcga, slidebench-bcnb or wsi-vqa.",
            rich_help_panel=_BENCHMARK,
        ),
    ] = None,
    method: Annotated[
        MethodName | None,
        typer.Option(
            help="Compare the likelihoods of the options' letters [default: likelihood], or of "
            "their texts without showing options (text), or read the option off a generated answer "
            "(generate).",
            rich_help_panel=_BENCHMARK,
        ),
    ] = None,
    permute: Annotated[
        bool,
        typer.Option(
            "--permute",
            help="Ask every cyclic order of the options too: does the answer follow the letter?",
            rich_help_panel=_BENCHMARK,
        ),
    ] = False,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Score another system's answers (JSONL or CSV) instead of a run.",
            rich_help_panel=_BENCHMARK,
        ),
    ] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of another evaluation of the same file, for the plot; repeatable.",
            rich_help_panel=_BENCHMARK,
        ),
    ] = None,
    several: Annotated[
        SeveralSlides | None,
        typer.Option(
            help="Where a row names a patient with several slides: count it as unanswered "
            "(error) [default], take the slide DX1, or the first by name.",
            rich_help_panel=_BENCHMARK,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Ask the first rows only; the report says so.", rich_help_panel=_BENCHMARK
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Prompts read at a time [default: 16].", rich_help_panel=_BENCHMARK
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Where a generated answer is cut at the latest [default: 64].",
            rich_help_panel=_BENCHMARK,
        ),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(
            help="Where the language model lies, if not where it was trained from.",
            rich_help_panel=_BENCHMARK,
        ),
    ] = None,
    allow_hub: Annotated[
        bool,
        typer.Option(
            "--allow-hub",
            help="Let the language model be downloaded from its hub.",
            rich_help_panel=_BENCHMARK,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Ask everything again.", rich_help_panel=_BENCHMARK),
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Score a run: a slide classifier on a cohort, or a slide language model on a benchmark.

    A run of train-mil: without --labels every test slide is predicted again by the fold that did
    not know it; on a new cohort the probabilities of all folds are averaged. A run of train-vqa
    needs --benchmark and --features; the same command goes on where it was cut short.
    """
    output = Output(as_json)
    cohort_options = {
        "labels": labels,
        "allow_overlap": allow_overlap,
        "label_column": label_column,
        "case_column": case_column,
        "skip_missing": skip_missing,
    }
    benchmark_options: dict[str, Any] = {  # each has its own type
        "method": method and method.value,
        "permute": permute,
        "predictions": predictions,
        "compare": compare,
        "several": several and several.value,
        "limit": limit,
        "batch_size": batch_size,
        "max_new_tokens": max_new_tokens,
        "llm": llm,
        "allow_hub": allow_hub,
        "overwrite": overwrite,
    }
    if benchmark is not None:
        _refuse(cohort_options, "is for runs of train-mil, and --benchmark for runs of train-vqa")
        from tcssa_cli.commands.evaluate_vqa import evaluate_vqa

        kind, file = benchmark
        evaluate_vqa(
            run, kind.value, file, output, features=features, out=out, device=device.value,
            **benchmark_options,
        )  # fmt: skip
        return
    _refuse(benchmark_options, "needs --benchmark NAME FILE")
    if run is None:
        raise UsageError("no run was given", hint="name the run directory: tcssa eval RUN")
    from tcssa_cli.commands.evaluate_mil import evaluate_mil

    evaluate_mil(run, output, features=features, out=out, device=device.value, **cohort_options)


def _refuse(options: dict[str, Any], why: str) -> None:
    """An option that the request does not go with is an error, not a silence."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
    if given:
        raise UsageError(f"{given[0]} {why}")
