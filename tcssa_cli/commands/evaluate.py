"""`tcssa eval`: score a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tcssa.errors import UsageError
from tcssa_cli.commands.benchmark_options import (
    AllowHub,
    BatchSize,
    BenchmarkFile,
    Compared,
    LanguageModel,
    Limit,
    MaxNewTokens,
    Method,
    Overwrite,
    Permute,
    Predictions,
    Several,
    TrustRemoteCode,
)
from tcssa_cli.options import DebugFlag, JsonFlag, TorchDevice
from tcssa_cli.output import Output

_COHORT = "Runs of train-mil"


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
        TorchDevice,
        typer.Option(help="An unavailable device is an error; there is no silent CPU fallback."),
    ] = "auto",
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
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY",
            help="The run's method, where it is code of your own: a run's word alone is no reason "
            "to import it.",
            rich_help_panel=_COHORT,
        ),
    ] = None,
    benchmark: BenchmarkFile = None,
    method: Method = None,
    permute: Permute = False,
    predictions: Predictions = None,
    compare: Compared = None,
    several: Several = None,
    limit: Limit = None,
    batch_size: BatchSize = None,
    max_new_tokens: MaxNewTokens = None,
    llm: LanguageModel = None,
    allow_hub: AllowHub = False,
    trust_remote_code: TrustRemoteCode = False,
    overwrite: Overwrite = False,
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
        "model": model,
    }
    benchmark_options: dict[str, Any] = {  # each has its own type
        "method": method,
        "permute": permute,
        "predictions": predictions,
        "compare": compare,
        "several": several,
        "limit": limit,
        "batch_size": batch_size,
        "max_new_tokens": max_new_tokens,
        "llm": llm,
        "allow_hub": allow_hub,
        "trust_remote_code": trust_remote_code,
        "overwrite": overwrite,
    }
    if benchmark is not None:
        _refuse(cohort_options, "is for runs of train-mil, and --benchmark for runs of train-vqa")
        from tcssa_cli.commands.evaluate_vqa import evaluate_vqa

        kind, file = benchmark
        evaluate_vqa(
            run, kind.value, file, output, features=features, out=out, device=device,
            **benchmark_options,
        )  # fmt: skip
        return
    _refuse(benchmark_options, "needs --benchmark NAME FILE")
    if run is None:
        raise UsageError("no run was given", hint="name the run directory: tcssa eval RUN")
    from tcssa_cli.commands.evaluate_mil import evaluate_mil

    evaluate_mil(run, output, features=features, out=out, device=device, **cohort_options)


def _refuse(options: dict[str, Any], why: str) -> None:
    """Refuse options that do not go with the request, rather than ignore them.

    Raises:
        UsageError: One of the options is given.
    """
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
    if given:
        raise UsageError(f"{given[0]} {why}")
