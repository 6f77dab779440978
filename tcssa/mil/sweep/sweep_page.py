"""Writer of ``sweep.html``: every combination with its metrics, and the chart if K was swept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tcssa.mil.reporting.metric_names import titles, written
from tcssa.mil.sweep.sweep_result import SweepResult
from tcssa.reports.html_page import Figure, Section, write_page

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
    title = f"Sweep over {', '.join(settings)}"
    write_page(result.out / PAGE_FILE, title, list(_sections(result, settings, chart)))


def _sections(
    result: SweepResult, settings: Sequence[str], chart: Path | None
) -> Iterator[Section]:
    figure = written(result.headline)
    others = [name for name in _OTHERS if name in result.rows[0]]
    yield Section(
        "What was found",
        f"{len(result.rows)} runs, each tested on the slides of its own folds. Choosing the best "
        "row by these figures is choosing on the test slides: take them as a sweep, or choose by "
        "validation.",
        rows=[
            [*settings, f"{figure}, pooled", "95 % interval", "folds, mean ± SD",
             *(titles([name], result.headline)[name] for name in others), "slots in use"],
            *(_row(row, settings, result.headline, others) for row in result.rows),
        ],
    )  # fmt: skip
    if chart is not None:
        yield Section(
            f"{figure} against K",
            "A point is the mean over seeds. Its bar is the SD over seeds, or of one seed the 95 % "
            "interval by patient. Seeds change the folds too, so the SD holds both.",
            figures=[Figure(chart, f"{figure} of pooled test slides against the number of slots")],
        )
    if result.failed:
        yield Section(
            "Not trained", "", rows=[["run", "reason"], *(list(row) for row in result.failed)]
        )
    yield Section(
        "What to do next",
        "Every row is a run below runs/ with a report of its own.",
        code="tcssa compare SWEEP/runs/RUN SWEEP/runs/RUN --out COMPARISON",
    )


def _row(
    row: Mapping[str, Any], settings: Sequence[str], headline: str, others: Sequence[str]
) -> list[str]:
    low, high = row[f"{headline}_low"], row[f"{headline}_high"]
    mean, deviation = row[f"{headline}_fold_mean"], row[f"{headline}_fold_sd"]
    folds = "–" if mean is None else f"{mean:.3f} ± {deviation or 0:.3f}"
    interval = "–" if low is None else f"{low:.3f} – {high:.3f}"
    slots = row["effective_slots"]
    return [
        *(str(row.get(name, "–")) for name in settings),
        _number(row[headline]),
        interval,
        folds,
        *(_number(row[name]) for name in others),
        "–" if slots is None else f"{slots:.1f}",
    ]


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
