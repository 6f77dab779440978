"""``report.html`` of a training: how it went, what the model answers, what it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tcssa.reports.html_page import write_page
from tcssa.vqa.training.history import Record
from tcssa.vqa.training.samples import Sample

PAGE_FILE = "report.html"


def write_report_page(
    out: Path,
    metrics: Mapping[str, Any],
    records: Sequence[Record],
    samples: Sequence[Sample],
    settings: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write the page, atomically.

    Args:
        out: The run directory, with its plots.
        metrics: The content of its ``metrics.json``.
        records: The records, in the order of the steps.
        samples: Answers of the trained model.
        settings: Settings by section and name.
    """
    given = [
        (f"{section}: {name.replace('_', ' ')}", str(value))
        for section, values in settings.items()
        for name, value in values.items()
        if value not in (None, [], False)
    ]
    write_page(
        out / PAGE_FILE,
        Path(__file__).with_suffix(".html"),
        name=out.name,
        metrics=metrics,
        validated=[record for record in records if record.val_loss is not None],
        samples=samples,
        plots=[
            (out / "plots" / "loss.png", "Loss over the steps"),
            (out / "plots" / "course.png", "Answers right, learning rate, tokens a second"),
        ],
        settings=given,
    )
