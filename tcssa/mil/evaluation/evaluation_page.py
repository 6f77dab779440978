"""Writer of an evaluation's ``report.html``: its metrics beside those of the run's own slides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tcssa.mil.reporting.metric_names import titles
from tcssa.mil.reporting.score_tables import (
    cohort_rows,
    interval,
    number,
    survival_rows,
    target_sections,
)
from tcssa.mil.tasks import MilTask
from tcssa.mil.tasks.serialization import task_of_metrics
from tcssa.mil.training.report import REPORT_FILE
from tcssa.reports.html_page import Figure, Section, write_page


def write_evaluation_page(
    folder: Path,
    metrics: Mapping[str, Any],
    training: Mapping[str, Any] | None,
    remarks: Sequence[str],
) -> None:
    """Write an evaluation's page, atomically.

    Args:
        folder: The evaluation's folder; its plots are put into the page.
        metrics: The content of the evaluation's ``metrics.json``.
        training: The content of the run's ``metrics.json`` if the slides are new, else None.
        remarks: Warnings that limit what the metrics mean.
    """
    name = metrics["run"]["name"]
    title = f"{name} on its own test slides" if training is None else f"{name} on new slides"
    sections = list(_sections(folder, metrics, training, remarks))
    write_page(folder / REPORT_FILE, title, sections)


def _sections(
    folder: Path,
    metrics: Mapping[str, Any],
    training: Mapping[str, Any] | None,
    remarks: Sequence[str],
) -> Iterator[Section]:
    pooled, task = metrics["pooled"], task_of_metrics(metrics)
    if remarks:
        yield Section("Before you rely on it", "", notes=remarks)
    yield Section(
        "What was found",
        f"{pooled['num_slides']} slides of {pooled['num_cases']} patients, {task.sentence()}. "
        f"{_how(metrics)} Intervals are of a bootstrap by patient.",
        rows=list(_figures(pooled, None if training is None else training["pooled"], task)),
        notes=task.meanings,
    )
    yield from target_sections(pooled, task.headline)
    captions = {folder / name: caption for name, caption in task.captions.items()}
    yield Section(
        "Pictures",
        "",
        figures=[Figure(path, text) for path, text in captions.items() if path.exists()],
    )
    yield Section("What it was made from", "", facts=list(_origins(metrics)))


def _how(metrics: Mapping[str, Any]) -> str:
    if metrics["predicted_by"] == "own fold":
        return "Each was predicted by the fold that did not know its patient."
    return f"The outputs of all {metrics['run']['folds']} folds were averaged."


def _figures(
    pooled: Mapping[str, Any], before: Mapping[str, Any] | None, task: MilTask
) -> Iterator[list[str]]:
    """Yield a row for each metric, beside its value on the run's own test slides if given."""
    own = [] if before is None else ["the run's own test slides", "95 % interval"]
    yield ["", "here", "95 % interval", *own]
    for name, label in titles(task.metrics, task.headline).items():
        row = [label, number(pooled[name]["value"]), interval(pooled[name])]
        if before is not None:
            row += [number(before[name]["value"]), interval(before[name])]
        yield row
    for name, figure in survival_rows(pooled):
        yield [name, figure, "", *("" for _ in own)]


def _origins(metrics: Mapping[str, Any]) -> Iterator[list[str]]:
    run = metrics["run"]
    yield ["run", f"{run['folder']} ({run['model']}, {run['folds']} folds)"]
    yield ["checkpoint SHA-256", run["checkpoint_sha256"]]
    yield ["labels", metrics["labels"]]
    yield from cohort_rows(metrics["cohort"])
    for slide, reason in metrics["skipped"].items():
        yield ["left out", f"{slide}: {reason}"]
