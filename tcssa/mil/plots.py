"""Plots of a run, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tcssa import atomic
from tcssa.intervals import Score
from tcssa.mil.history import Epoch, SlotUse
from tcssa.mil.metrics import Floats, Ints
from tcssa.mil.names import written

if TYPE_CHECKING:
    from tcssa.mil.compare import Comparison
    from tcssa.mil.tasks.concordance import Curve

_INK = "#3b2a5a"


def plot_roc(path: Path, labels: Ints, probs: Floats, classes: Sequence[str]) -> None:
    """ROC of each class against the rest; of two classes, of the second."""
    from sklearn.metrics import auc, roc_curve

    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    shown = [1] if len(classes) == 2 else range(len(classes))
    for c in shown:
        if 0 < (labels == c).sum() < len(labels):
            false_positive, true_positive, _ = roc_curve(labels == c, probs[:, c])
            area = auc(false_positive, true_positive)
            axes.plot(false_positive, true_positive, label=f"{classes[c]}: AUC {area:.3f}")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    axes.set(
        xlabel="false positive rate",
        ylabel="true positive rate",
        aspect="equal",
        title=f"ROC, {len(labels)} slides",
    )
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", frameon=False)
    _save(figure, path)


def plot_confusion(path: Path, matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    """Confusion matrix, true classes in rows."""
    counts = np.asarray(matrix)
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    axes.imshow(shares, cmap="Purples", vmin=0, vmax=1.2)
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=ink)
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=20, ha="right")
    axes.set_yticks(ticks, classes)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion")
    _save(figure, path)


def plot_survival(path: Path, curves: Mapping[str, Curve], p_value: float | None) -> None:
    """Kaplan–Meier curves of groups by name, with the p of the log-rank test between them."""
    figure = Figure(figsize=(4.8, 4.0), layout="constrained")
    axes = figure.subplots()
    for (name, curve), colour in zip(curves.items(), ("firebrick", _INK), strict=False):
        axes.step(curve.times, curve.surviving, where="post", color=colour, label=name)
    test = "" if p_value is None else f", log-rank p = {p_value:.2g}"
    axes.set(
        xlabel="time",
        ylabel="share without the event",
        ylim=(0, 1.02),
        title=f"Patients{test}",
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    _save(figure, path)


def plot_training(path: Path, folds: Sequence[Sequence[Epoch]], top_k: int) -> None:
    """Validation loss over the epochs of every fold; of a method with slots also their use."""
    has_slots = folds[0][0].slots is not None
    figure = Figure(figsize=(9 if has_slots else 4.8, 3.6), layout="constrained")
    axes = figure.subplots(1, 2 if has_slots else 1, squeeze=False)[0]
    for index, epochs in enumerate(folds):
        numbers, losses = [row.epoch for row in epochs], [row.val_loss for row in epochs]
        (line,) = axes[0].plot(numbers, losses, label=f"fold {index}")
        kept = int(np.argmin(losses))
        axes[0].plot(numbers[kept], losses[kept], "o", color=line.get_color(), markersize=5)
    axes[0].set(xlabel="epoch", ylabel="validation loss", title="Validation loss")
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=min(len(folds), 5), frameon=False)
    if has_slots:
        uses = [[row.slots for row in epochs if row.slots] for epochs in folds]
        _draw_slots_in_use(axes[1], uses, top_k)
    _save(figure, path)


def _draw_slots_in_use(axes: Axes, folds: Sequence[Sequence[SlotUse]], top_k: int) -> None:
    num_slots = len(folds[0][0].utilisation)
    for uses in folds:
        axes.plot([use.effective_slots for use in uses])
    axes.axhline(num_slots, color="grey", linewidth=0.8, linestyle=":")
    axes.axhline(1.5 * top_k, color="firebrick", linewidth=0.8, linestyle=":")
    axes.text(0, 1.5 * top_k, " collapse", color="firebrick", fontsize=8, va="bottom")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(
        xlabel="epoch",
        ylabel="effective slots",
        ylim=(0, num_slots * 1.05),
        title=f"Slots in use, of {num_slots}",
    )


def plot_utilisation(path: Path, folds: Sequence[SlotUse]) -> None:
    """Share of patches' assignments per slot, at the epoch each fold kept."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    shares = np.array([row.utilisation for row in folds])
    slots = np.arange(shares.shape[1])
    axes.bar(slots, shares.mean(axis=0), color=_INK, width=0.8, label="mean over folds")
    axes.scatter(
        np.tile(slots, len(folds)), shares.ravel(), s=6, color="darkorange", label="each fold"
    )
    axes.axhline(1 / len(slots), color="grey", linewidth=0.8, linestyle=":", label="equal use")
    axes.set(xlabel="slot", ylabel="share of assignments", title="Slot utilisation in training")
    axes.set_xlim(-0.8, len(slots) - 0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    _save(figure, path)


def plot_comparison(path: Path, comparison: Comparison) -> None:
    """Forest plot: each run's figure, and its difference from the first, with intervals."""
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
    _save(figure, path)


def _draw_interval(axes: Axes, row: int, score: Score, form: str) -> None:
    value = score["value"]
    if value is None:
        return
    low, high = score["low"], score["high"]
    if low is not None and high is not None:
        axes.plot([low, high], [row, row], "|-", color=_INK, linewidth=1.5, markersize=7)
    axes.plot(value, row, "o", color=_INK, markersize=5)
    text = form.format(value).replace("-", "\N{MINUS SIGN}")
    right_edge = (1.02, row)  # beside the axes, on the row
    axes.annotate(text, right_edge, xycoords=axes.get_yaxis_transform(), va="center", fontsize=9)


def plot_sweep(path: Path, rows: Sequence[Mapping[str, Any]], metric: str = "auc") -> None:
    """A pooled test figure against K: a line for each combination of the other settings.

    Points are means over seeds. Bars are the SD over seeds where there are several, else the 95 %
    interval of the one run.
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
    _save(figure, path)


def _bars_text(lines: Mapping[str, Mapping[int, Sequence[Mapping[str, Any]]]]) -> str:
    """What points and bars are, which depends on whether there are several seeds."""
    most = max((len(rows) for line in lines.values() for rows in line.values()), default=1)
    if most > 1:
        return f"means of up to {most} seeds, bars: SD over seeds"
    return "bars: 95 % interval, by patient"


def _bar(rows: Sequence[Mapping[str, Any]], metric: str) -> tuple[float, float]:
    """How far the error bar goes down and up."""
    values = [float(row[metric]) for row in rows]
    if len(values) > 1:
        deviation = float(np.std(values, ddof=1))
        return deviation, deviation
    (row,) = rows
    if row[f"{metric}_low"] is None:
        return 0.0, 0.0
    return values[0] - float(row[f"{metric}_low"]), float(row[f"{metric}_high"]) - values[0]


def _save(figure: Figure, path: Path) -> None:
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
