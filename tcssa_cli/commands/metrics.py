"""How scores look in a terminal; shared by training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from tcssa_cli.output import make_table

_TITLES = {
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "auprc": "AUPRC",
    "brier": "Brier (low is good)",
    "calibration_error": "calibration error (low)",
    "weighted_kappa": "weighted kappa, if grades",
}


def show_metrics(console: Console, pooled: dict[str, Any], classes: Sequence[str]) -> None:
    """Scores with their intervals, and the confusion matrix."""
    rows = [
        [title, pooled[name]["value"], _interval(pooled[name])] for name, title in _TITLES.items()
    ]
    title = f"Test: {pooled['num_slides']} slides of {pooled['num_cases']} patients"
    console.print(make_table(title, ["", "value", "95 % interval, by patient"], rows))
    confusion = [[name, *counts] for name, counts in zip(classes, pooled["confusion"], strict=True)]
    console.print(make_table("Confusion", ["true \\ predicted", *classes], confusion))


def _interval(score: dict[str, float | None]) -> str:
    if score["value"] is None:
        return "not defined: a class is missing"
    if score["low"] is None:
        return "not defined: too few patients"
    return f"{score['low']:.3f} – {score['high']:.3f}"
