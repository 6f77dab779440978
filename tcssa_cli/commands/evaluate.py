"""`tcssa eval`: what a run is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tcssa_cli.commands.metrics import show_metrics
from tcssa_cli.options import DebugFlag, JsonFlag, TorchDevice
from tcssa_cli.output import Output


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory of train-mil.")],
    labels: Annotated[Path | None, typer.Option(help="Label table of another cohort.")] = None,
    features: Annotated[Path | None, typer.Option(help="Features of that cohort.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where to write metrics, predictions and plots."),
    ] = None,
    device: Annotated[
        TorchDevice, typer.Option(help="Never replaced in silence.")
    ] = TorchDevice.AUTO,
    allow_overlap: Annotated[
        bool, typer.Option(help="Score a cohort that shares patients with training all the same.")
    ] = False,
    label_column: Annotated[
        str | None, typer.Option(help="Column of the label, if it is not called as in training.")
    ] = None,
    case_column: Annotated[
        str | None, typer.Option(help="Column of the patient, likewise.")
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option(help="Leave out slides without features or patches, and name them.")
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Score a run on its test slides, or on a cohort given anew.

    Without --labels every test slide is predicted again by the fold that did not know it. On a
    new cohort the probabilities of all folds are averaged.
    """
    output = Output(as_json)
    from tcssa.mil.evaluate import evaluate as evaluate_run

    done = evaluate_run(
        run,
        output,
        labels=labels,
        features=features,
        out=out,
        device=device.value,
        allow_overlap=allow_overlap,
        label_column=label_column,
        case_column=case_column,
        skip_missing=skip_missing,
    )

    def show(console: Console) -> None:
        show_metrics(console, done.metrics["pooled"], done.metrics["classes"])
        console.print(f"predictions, metrics and plots: {done.folder}", soft_wrap=True)

    output.result({"folder": str(done.folder), **done.metrics}, show)
