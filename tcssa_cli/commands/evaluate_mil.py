"""`tcssa eval` of a slide classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from tcssa.errors import UsageError
from tcssa_cli.commands.metrics import show_metrics
from tcssa_cli.output import Output


def evaluate_mil(run: Path, output: Output, **options: Any) -> None:
    """Score a run of train-mil.

    Args:
        run: The run directory.
        output: Receives progress and the result.
        **options: Further arguments of `tcssa.mil.evaluation.evaluate.evaluate`.

    Raises:
        UsageError: The run is one of train-vqa.
    """
    if (run / "vqa.json").exists():
        raise UsageError(
            f"{run} is a run of train-vqa, which is scored on a benchmark",
            hint=f"tcssa eval {run} --benchmark slidebench-tcga FILE --features DIR",
        )
    from tcssa.mil.evaluation.evaluate import evaluate
    from tcssa.mil.training.report import REPORT_FILE

    done = evaluate(run, output, **options)

    def show(console: Console) -> None:
        show_metrics(console, done.metrics["pooled"], done.task)
        console.print(f"predictions, metrics and {REPORT_FILE}: {done.folder}", soft_wrap=True)

    output.result({"folder": str(done.folder), **done.metrics}, show)
