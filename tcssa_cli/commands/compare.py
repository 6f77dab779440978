"""`tcssa compare`: runs side by side, on the same test slides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tcssa.errors import counted
from tcssa_cli.options import DebugFlag, JsonFlag
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa.mil.comparison.comparison import Comparison
    from tcssa.statistics.intervals import Score


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Finished runs of train-mil; the first is the reference."),
    ],
    metric: Annotated[
        str | None,
        typer.Option(
            help="Figure to compare: auc, auprc, balanced_accuracy, macro_f1, accuracy, brier, … "
            r"\[default: auc; for grades weighted_kappa; for numbers r2; for survival c_index]"
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help=r"One of several targets. \[default: the mean over all targets]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the forest plot and the figures.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Compare runs: figures with intervals, and paired differences from the first run.

    The runs must have tested the same slides with the same labels. Bootstrap samples are drawn by
    patient.

    Examples:
        tcssa compare run-a run-b
        tcssa compare run-a run-b run-c --metric balanced_accuracy --out comparison
    """
    output = Output(as_json)
    from tcssa.mil.comparison.compare import as_json as plain
    from tcssa.mil.comparison.compare import compare as compare_runs

    comparison = compare_runs(runs, metric, output, target=target, out=out, seed=seed)
    output.result(plain(comparison), lambda console: _show(console, comparison))
    if out is not None:
        output.note(f"page, forest plot and figures: {out / 'comparison.html'}")


def _show(console: Console, comparison: Comparison) -> None:
    rows = [
        [
            run.name,
            run.model,
            _with_interval(run.score),
            _with_interval(run.difference) if run.difference else "",
            "" if run.p_value is None else f"{run.p_value:.3f}",
            "" if run.fold_mean is None else f"{run.fold_mean:.3f} ± {run.fold_sd or 0:.3f}",
        ]
        for run in comparison.runs
    ]
    header = ["run", "model", f"{comparison.metric}, pooled", "difference", "p", "folds, mean ± SD"]
    title = (
        f"{counted(comparison.num_slides, 'test slide')} of "
        f"{counted(comparison.num_cases, 'patient')}"
    )
    console.print(make_table(title, header, rows))


def _with_interval(score: Score) -> str:
    if score["value"] is None:
        return "not defined"
    if score["low"] is None:
        return f"{score['value']:.3f}"
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
