"""Writer of ``comparison.html``: runs side by side, with notes on how to read the figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tcssa.mil.comparison.comparison import Comparison
from tcssa.mil.reporting.metric_names import written
from tcssa.reports.html_page import Figure, Section, write_page
from tcssa.statistics.intervals import Score

PAGE_FILE = "comparison.html"


def write_comparison_page(out: Path, comparison: Comparison, plot: Path) -> None:
    """Write the page, atomically.

    Args:
        out: The comparison's folder.
        comparison: The result to show.
        plot: The image file of the forest plot.
    """
    names = ", ".join(run.name for run in comparison.runs)
    write_page(out / PAGE_FILE, f"Comparison of {names}", list(_sections(comparison, plot)))


def _sections(comparison: Comparison, plot: Path) -> Iterator[Section]:
    metric, first = written(comparison.metric), comparison.runs[0]
    yield Section(
        "What was found",
        f"{metric} on the same {comparison.num_slides} test slides of {comparison.num_cases} "
        f"patients; differences are from {first.name}.",
        rows=[
            ["run", "model", metric, "95 % interval", "difference", "95 % interval", "p",
             "folds, mean ± SD"],
            *_rows(comparison),
        ],
        notes=(
            "Each bootstrap sample draws patients and scores both runs, so that what makes a "
            "patient hard for both cancels out: a difference may stand although the intervals "
            "of the two runs overlap.",
            "p is twice the share of samples on the smaller side of zero. Of several comparisons "
            "some are small by chance; nothing is corrected for that.",
            "Mean and SD over folds say how much a run's trainings differ, and are no interval.",
        ),
    )  # fmt: skip
    yield Section(
        "Forest plot",
        "",
        figures=[Figure(plot, f"{metric} of every run, and its difference from {first.name}")],
    )
    yield Section(
        "What to do next",
        "All metrics of a run stand in its report.html. The same runs by another metric:",
        code="tcssa compare RUN RUN … --metric balanced_accuracy --out COMPARISON",
    )


def _rows(comparison: Comparison) -> Iterator[list[str]]:
    for run in comparison.runs:
        apart = run.difference
        folds = "–" if run.fold_mean is None else f"{run.fold_mean:.3f} ± {run.fold_sd or 0:.3f}"
        yield [
            run.name,
            run.model,
            _value(run.score),
            _interval(run.score),
            "–" if apart is None else _value(apart, signed=True),
            "–" if apart is None else _interval(apart, signed=True),
            "–" if run.p_value is None else f"{run.p_value:.3f}",
            folds,
        ]


def _value(score: Score, *, signed: bool = False) -> str:
    return "not defined" if score["value"] is None else _number(score["value"], signed)


def _interval(score: Score, *, signed: bool = False) -> str:
    low, high = score["low"], score["high"]
    if low is None or high is None:
        return "not defined"
    return f"{_number(low, signed)} to {_number(high, signed)}"


def _number(value: float, signed: bool) -> str:
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return text.replace("-", "\N{MINUS SIGN}")
