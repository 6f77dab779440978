"""Tables of scores in a terminal; shared by training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tcssa.errors import counted
from tcssa.mil.reporting.decision_rows import decisions, scaling
from tcssa.mil.reporting.metric_names import titles
from tcssa_cli.output import make_table

if TYPE_CHECKING:
    from tcssa.mil.tasks import MilTask


def show_metrics(console: Console, pooled: dict[str, Any], task: MilTask) -> None:
    """Print scores with their intervals, and the further results of the kind of label.

    Args:
        console: The console to print on.
        pooled: Scores over all test slides, as in ``metrics.json``.
        task: The kind of label.
    """
    _show(console, pooled, task.headline, f"Test: {_size(pooled)}")
    _show_decisions(console, pooled)
    if "num_events" in pooled:
        console.print(f"{counted(pooled['num_events'], 'patient')} had an event")
    if pooled.get("log_rank_p") is not None:
        p = pooled["log_rank_p"]
        console.print(f"patients above the median risk against the others: log-rank p = {p:.3g}")
    if "confusion" in pooled:
        names = task.label_names
        matrix = zip(names, pooled["confusion"], strict=True)
        confusion = [[name, *counts] for name, counts in matrix]
        console.print(make_table("Confusion", ["true \\ predicted", *names], confusion))
    for target, scores in pooled.get("targets", {}).items():
        if scores is None:
            console.print(f"{target}: not known for any test slide")
        else:
            _show(console, scores, task.headline, f"{target}: {_size(scores)}")
            _show_decisions(console, scores)


def _size(scores: dict[str, Any]) -> str:
    return f"{counted(scores['num_slides'], 'slide')} of {counted(scores['num_cases'], 'patient')}"


def _show(console: Console, scores: dict[str, Any], headline: str, title: str) -> None:
    rows = [
        [shown, scores[name]["value"], _interval(scores[name])]
        for name, shown in titles(scores, headline).items()
    ]
    console.print(make_table(title, ["", "value", "95 % interval, by patient"], rows))


def _show_decisions(console: Console, scores: dict[str, Any]) -> None:
    """Print sensitivity and specificity, and what temperature scaling changes, if there are any."""
    tables = {("sensitivity", "specificity"): decisions, ("unscaled", "scaled"): scaling}
    for (one, other), rows_of in tables.items():
        rows = [
            [name, first["value"], _interval(first), second["value"], _interval(second)]
            for name, first, second in rows_of(scores)
        ]
        if rows:
            console.print(make_table(None, ["", one, "95 %", other, "95 %"], rows))


def _interval(score: Mapping[str, float | None]) -> str:
    if score["value"] is None:
        return "not defined: a class is missing, or all values are equal"
    if score["low"] is None:
        return "not defined: too few patients"
    return f"{score['low']:.3f} – {score['high']:.3f}"
