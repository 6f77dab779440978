"""The forest plot of a comparison."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tcssa.mil.comparison.comparison import Comparison
from tcssa.mil.reporting.metric_names import written
from tcssa.reports.figures import INK, save_figure
from tcssa.statistics.intervals import Score


def plot_comparison(path: Path, comparison: Comparison) -> None:
    """Draw a forest plot: each run's score and its difference from the first, with intervals.

    Args:
        path: The image file.
        comparison: The result to draw.
    """
    runs = comparison.runs
    figure = Figure(figsize=(9, 1.3 + 0.34 * len(runs)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for row, run in enumerate(runs):
        _draw_interval(left, row, run.score, "{:.3f}")
        if run.difference is not None:
            _draw_interval(right, row, run.difference, "{:+.3f}")
    names = [run.name if run.name == run.model else f"{run.name} ({run.model})" for run in runs]
    left.set_yticks(range(len(runs)), names)
    left.set_ylim(len(runs) - 0.4, -0.6)
    left.set(xlabel=written(comparison.metric), title="with 95 % interval, by patient")
    right.axvline(0, color="grey", linewidth=0.8, linestyle=":")
    right.set(xlabel="difference", title=f"against {runs[0].name}, paired")
    for axes in (left, right):
        axes.tick_params(left=False)
        axes.locator_params(axis="x", nbins=5)  # more figures would touch each other
        axes.spines[["top", "right", "left"]].set_visible(False)
    save_figure(figure, path)


def _draw_interval(axes: Axes, row: int, score: Score, form: str) -> None:
    value = score["value"]
    if value is None:
        return
    low, high = score["low"], score["high"]
    if low is not None and high is not None:
        axes.plot([low, high], [row, row], "|-", color=INK, linewidth=1.5, markersize=7)
    axes.plot(value, row, "o", color=INK, markersize=5)
    text = form.format(value).replace("-", "\N{MINUS SIGN}")
    right_edge = (1.02, row)  # beside the axes, on the row
    axes.annotate(text, right_edge, xycoords=axes.get_yaxis_transform(), va="center", fontsize=9)
