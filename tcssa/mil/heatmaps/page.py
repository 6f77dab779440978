"""``report.html``: the maps of all slides, and how to read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tcssa.mil.heatmaps.pictures import Look
from tcssa.mil.heatmaps.records import Record
from tcssa.mil.results.finished import FinishedRun
from tcssa.reports.html_page import write_page

PAGE_FILE = "report.html"
MOST_SHOWN = 60
"""Slides whose maps the page holds; of all others it names the files."""


def write_page_of(
    out: Path,
    trained: FinishedRun,
    records: Sequence[Record],
    failed: Sequence[tuple[str, str]],
    look: Look,
) -> None:
    """Write the page, atomically.

    Args:
        out: Folder of the heat maps.
        trained: The run.
        records: The slides that are drawn.
        failed: Slides that something went wrong with, and the reasons.
        look: What is drawn, and how.
    """
    shown = [record for record in records if record.pictures][:MOST_SHOWN]
    write_page(
        out / PAGE_FILE,
        Path(__file__).with_name("report.html"),
        run=trained.folder.resolve().name,
        model=trained.settings.model.name,
        columns=trained.task.value_columns,
        records=records,
        shown=[(record, [(out / name, name) for name in _pictures(record)]) for record in shown],
        num_unshown=len(records) - len(shown),
        schemes=sorted({record.scheme for record in records}),
        failed=failed,
        look=look,
    )


def _pictures(record: Record) -> list[str]:
    return [name for name in record.pictures if name.endswith((".png", ".jpg"))]
