"""Writer of ``sweep.html``: every combination with its metrics, and the chart if K was swept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tcssa.mil.reporting.metric_names import titles, written
from tcssa.mil.sweep.sweep_result import SweepResult
from tcssa.reports.html_page import write_page

PAGE_FILE = "sweep.html"
_OTHERS = ("balanced_accuracy", "brier")
"""Metrics shown beside the headline, for kinds of label that have them."""


def write_sweep_page(result: SweepResult, settings: Sequence[str], chart: Path | None) -> None:
    """Write the page, atomically.

    Args:
        result: The sweep; the page is written to its folder.
        settings: Names of the swept settings, as in the rows.
        chart: Image file of the headline metric against K, if it was drawn.
    """
    others = [name for name in _OTHERS if name in result.rows[0]]
    write_page(
        result.out / PAGE_FILE,
        Path(__file__).with_suffix(".html"),
        result=result,
        settings=list(settings),
        metric=written(result.headline),
        others={name: titles([name], result.headline)[name] for name in others},
        chart=chart,
    )
