"""Writer of an evaluation's ``report.html``: its metrics beside those of the run's own slides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tcssa.mil.reporting import decision_rows
from tcssa.mil.reporting.cohort_facts import cohort_facts
from tcssa.mil.reporting.metric_names import titles
from tcssa.mil.results.metrics_file import RunMetrics
from tcssa.mil.review.review import Review
from tcssa.mil.tasks import MilTask
from tcssa.mil.training.report import REPORT_FILE
from tcssa.reports.html_page import write_page


def write_evaluation_page(
    folder: Path,
    task: MilTask,
    metrics: Mapping[str, Any],
    training: RunMetrics | None,
    remarks: Sequence[str],
    review: Review | None = None,
) -> None:
    """Write an evaluation's page, atomically.

    Args:
        folder: The evaluation's folder; its plots are put into the page.
        task: The kind of label.
        metrics: The content of the evaluation's ``metrics.json``.
        training: The results of the run if the slides are new, else None.
        remarks: Warnings that limit what the metrics mean.
        review: The wrong predictions; None where labels are no classes.
    """
    captions = {folder / name: caption for name, caption in task.captions.items()}
    write_page(
        folder / REPORT_FILE,
        Path(__file__).with_suffix(".html"),
        metrics=metrics,
        training=training,
        remarks=remarks,
        task=task,
        titles=titles,
        rows_of=decision_rows,
        review=review,
        pictures=[(path, text) for path, text in captions.items() if path.exists()],
        origins=list(_origins(metrics)),
    )


def _origins(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    run = metrics["run"]
    yield "run", f"{run['folder']} ({run['model']}, {run['folds']} folds)"
    yield "checkpoint SHA-256", run["checkpoint_sha256"]
    yield "labels", metrics["labels"]
    yield from cohort_facts(metrics["cohort"])
    for reading in metrics["readings"]:
        yield "read as", reading
    for slide, reason in metrics["skipped"].items():
        yield "left out", f"{slide}: {reason}"
