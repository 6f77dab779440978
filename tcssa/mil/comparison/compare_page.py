"""Writer of ``comparison.html``: runs side by side, with notes on how to read the figures."""

from __future__ import annotations

from pathlib import Path

from tcssa.mil.comparison.comparison import Comparison
from tcssa.mil.reporting.metric_names import written
from tcssa.reports.html_page import write_page

PAGE_FILE = "comparison.html"


def write_comparison_page(out: Path, comparison: Comparison, plot: Path) -> None:
    """Write the page, atomically.

    Args:
        out: The comparison's folder.
        comparison: The result to show.
        plot: The image file of the forest plot.
    """
    template = Path(__file__).with_suffix(".html")
    metric = written(comparison.metric)
    write_page(out / PAGE_FILE, template, found=comparison, metric=metric, plot=plot)
