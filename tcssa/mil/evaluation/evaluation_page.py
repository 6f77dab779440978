"""Writer of an evaluation's ``report.html``: its metrics beside those of the run's own slides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tcssa.mil.reporting.cohort_facts import cohort_facts
from tcssa.mil.reporting.metric_names import titles
from tcssa.mil.tasks.serialization import task_of_metrics
from tcssa.mil.training.report import REPORT_FILE
from tcssa.reports.html_page import write_page


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
    task = task_of_metrics(metrics)
    captions = {folder / name: caption for name, caption in task.captions.items()}
    write_page(
        folder / REPORT_FILE,
        Path(__file__).with_suffix(".html"),
        metrics=metrics,
        training=training,
        remarks=remarks,
        task=task,
        titles=titles,
        pictures=[(path, text) for path, text in captions.items() if path.exists()],
        origins=list(_origins(metrics)),
    )


def _origins(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    run = metrics["run"]
    yield "run", f"{run['folder']} ({run['model']}, {run['folds']} folds)"
    yield "checkpoint SHA-256", run["checkpoint_sha256"]
    yield "labels", metrics["labels"]
    yield from cohort_facts(metrics["cohort"])
    for slide, reason in metrics["skipped"].items():
        yield "left out", f"{slide}: {reason}"
