"""Comparison of evaluated and published systems: accuracy for a number of visual tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tcssa.errors import UsageError
from tcssa.vqa.evaluation.plots import System, plot_accuracy
from tcssa.vqa.evaluation.published import read_published
from tcssa.vqa.evaluation.report import Report

PLOT_FILE = "comparison.png"
_BASELINES = {
    "majority_letter": "majority letter",
    "majority_option_text": "majority option text",
    "longest_option": "longest option",
}


def plot_comparison(report: Report, beside: Sequence[Report] = ()) -> Path | None:
    """Plot accuracy against visual tokens, into the report's folder.

    Args:
        report: The evaluation in question; its baselines are drawn as lines.
        beside: More evaluations of the same file.

    Returns:
        Path of the picture; None where the report has no questions with options.

    Raises:
        UsageError: An evaluation is of another file, of other rows of it, or has no answers to
            questions with options.
    """
    if report.metrics["scores"] is None:
        return None
    for other in beside:
        require_same_rows(report, other)
    benchmark = report.metrics["benchmark"]
    systems = [_evaluated(each) for each in (report, *beside)]
    systems += [
        System(system.system, percent / 100, system.visual_tokens, published=True)
        for system in read_published().systems
        if (percent := system.on(benchmark["kind"])) is not None
    ]
    floors = {
        _BASELINES[baseline["name"]]: baseline["scores"]["overall"]["accuracy"]["value"]
        for baseline in report.metrics["baselines"]
        if baseline["name"] in _BASELINES
    }
    rows = report.metrics["scores"]["overall"]["num_rows"]
    title = f"{benchmark['kind']}: {rows:,} rows; hollow: published, perhaps on other rows"
    path = report.folder / PLOT_FILE
    plot_accuracy(path, systems, floors, title=title)
    return path


def require_same_rows(report: Report, other: Report) -> None:
    """Require that two evaluations asked the same questions.

    Args:
        report: The evaluation in question, which has answers to questions with options.
        other: The one beside it.

    Raises:
        UsageError: The other is of another file, of other rows of it, or has no such answers.
    """
    found, wanted = other.metrics, report.metrics
    if found["scores"] is None:
        raise UsageError(f"{other.folder} holds no answers to questions with options")
    hint = "evaluate all systems on the same rows of the same file"
    if found["benchmark"]["sha256"] != wanted["benchmark"]["sha256"]:
        raise UsageError(f"{other.folder} was evaluated on another file", hint=hint)
    num_found, num_wanted = found["asked"]["num_questions"], wanted["asked"]["num_questions"]
    if num_found != num_wanted:
        raise UsageError(
            f"{other.folder} was asked {num_found} rows of the benchmark, this one {num_wanted}",
            hint=hint,
        )


def _evaluated(report: Report) -> System:
    metrics: dict[str, Any] = report.metrics
    accuracy = metrics["scores"]["overall"]["accuracy"]
    return System(
        metrics["system"]["name"],
        accuracy["value"],
        metrics["num_visual_tokens"],
        accuracy["low"],
        accuracy["high"],
    )
