"""`tcssa compare`: runs side by side, on the same test slides."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tcssa.errors import UsageError, counted
from tcssa_cli.options import DebugFlag, JsonFlag, out_option
from tcssa_cli.output import Output, make_table, with_interval

if TYPE_CHECKING:
    from tcssa.mil.comparison.comparison import Comparison
    from tcssa.vqa.evaluation.paired import PairedComparison


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Finished runs of train-mil, or folders that eval --benchmark wrote; the first is "
            "the reference."
        ),
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
    out: Annotated[Path | None, out_option("Folder for the forest plot and the figures.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Compare runs: figures with intervals, and paired differences from the first run.

    The runs must have tested the same slides with the same labels. Bootstrap samples are drawn by
    patient. Evaluations of slide question answering are paired question by question, overall and
    in each category, with samples drawn by slide.

    Examples:
        tcssa compare run-a run-b
        tcssa compare a/eval-slidebench-tcga b/eval-slidebench-tcga
        tcssa compare run-a run-b run-c --metric balanced_accuracy --out comparison
    """
    output = Output(as_json)
    from tcssa.vqa.answering.answer_log import ANSWERS_FILE

    if any((run / ANSWERS_FILE).exists() for run in runs):
        if metric is not None or target is not None:
            raise UsageError("--metric and --target are of runs of train-mil, not of evaluations")
        from tcssa.vqa.evaluation.paired import compare_evaluations

        paired = compare_evaluations(runs, output, out=out, seed=seed)
        output.result(asdict(paired), lambda console: _show_paired(console, paired))
        return
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
            with_interval(run.score),
            with_interval(run.difference) if run.difference else "",
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


def _show_paired(console: Console, comparison: PairedComparison) -> None:
    header = ["", "rows", "first", "this", "difference", "only first right", "only this", "p"]
    for other in comparison.others:
        rows = [
            [
                group.name,
                group.num_rows,
                f"{group.first:.3f}",
                f"{group.other:.3f}",
                with_interval(group.difference),
                group.only_first,
                group.only_other,
                f"{group.p_value:.3g}",
            ]
            for group in other.groups
        ]
        title = f"{other.name} beside {comparison.first}: accuracy, all rows"
        console.print(make_table(title, header, rows))
    console.print("p: McNemar's exact test of the questions that only one of the two has right")
