"""Plot of a test metric over the number of slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tcssa.mil.reporting.metric_names import written
from tcssa.reports.figures import save_figure


def plot_sweep(path: Path, rows: Sequence[Mapping[str, Any]], metric: str = "auc") -> None:
    """Plot a pooled test metric against K, one line for each combination of the other settings.

    Points are means over seeds. Bars are the SD over seeds if there are several, else the 95 %
    interval of the one run.

    Args:
        path: The image file.
        rows: Settings and scores of each run, as in `SweepResult.rows`.
        metric: Name of the metric.
    """
    not_lines = {"num_slots", "seed"}
    lines: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
    for row in rows:
        if row.get(metric) is None or "num_slots" not in row:
            continue
        settings = list(row)[: list(row).index(metric)]
        label = ", ".join(f"{name} {row[name]}" for name in settings if name not in not_lines)
        lines.setdefault(label, {}).setdefault(int(row["num_slots"]), []).append(row)
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    ticks = sorted({slots for line in lines.values() for slots in line})
    beside = 0.5 * (np.arange(len(lines)) - (len(lines) - 1) / 2) / max(len(lines), 6)
    for offset, (label, line) in zip(beside, lines.items(), strict=True):
        slots = sorted(line)
        values = [[float(row[metric]) for row in line[k]] for k in slots]
        means = np.array([np.mean(each) for each in values])
        bars = np.array([_bar(line[k], metric) for k in slots]).T
        places = [ticks.index(k) + offset for k in slots]
        axes.errorbar(places, means, yerr=bars, marker="o", capsize=3, label=label)
    axes.set_xticks(range(len(ticks)), [str(k) for k in ticks])
    axes.set(
        xlabel="number K of slots",
        ylabel=f"{written(metric)}, pooled test slides",
        title=_bars_text(lines),
    )
    axes.spines[["top", "right"]].set_visible(False)
    if any(lines):
        figure.legend(loc="outside lower center", ncols=min(len(lines), 3), frameon=False)
    save_figure(figure, path)


def _bars_text(lines: Mapping[str, Mapping[int, Sequence[Mapping[str, Any]]]]) -> str:
    """Describe points and bars, which depend on whether there are several seeds."""
    most = max((len(rows) for line in lines.values() for rows in line.values()), default=1)
    if most > 1:
        return f"means of up to {most} seeds, bars: SD over seeds"
    return "bars: 95 % interval, by patient"


def _bar(rows: Sequence[Mapping[str, Any]], metric: str) -> tuple[float, float]:
    """Return the lengths of the error bar below and above its point."""
    values = [float(row[metric]) for row in rows]
    if len(values) > 1:
        deviation = float(np.std(values, ddof=1))
        return deviation, deviation
    (row,) = rows
    if row[f"{metric}_low"] is None:
        return 0.0, 0.0
    return values[0] - float(row[f"{metric}_low"]), float(row[f"{metric}_high"]) - values[0]
