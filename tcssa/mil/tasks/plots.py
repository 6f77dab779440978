"""Plots of predictions, by kind of label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tcssa.errors import counted
from tcssa.mil.tasks.concordance import Curve
from tcssa.reports.figures import INK, save_figure
from tcssa.statistics.metrics import Floats, Ints


def plot_roc(path: Path, labels: Ints, probs: Floats, classes: Sequence[str]) -> None:
    """Plot the ROC of each class against the rest; for two classes, of the second alone.

    Args:
        path: The file of the plot.
        labels: True classes, [S].
        probs: Probabilities of the classes, [S, C].
        classes: Names of the classes.
    """
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
    save_figure(figure, path)


def plot_confusion(path: Path, matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    """Plot a confusion matrix, true classes in rows.

    Args:
        path: The file of the plot.
        matrix: Counts, [C][C].
        classes: Names of the classes.
    """
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
    save_figure(figure, path)


def plot_scatter(path: Path, truth: Floats, values: Floats, r2: float | None) -> None:
    """Plot predicted over true numbers.

    Args:
        path: The file of the plot.
        truth: True numbers, [S].
        values: Predicted numbers, [S].
        r2: The share of variance that is explained, or None if it is not defined.
    """
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(truth, values, s=14, alpha=0.6, color=INK, edgecolors="none")
    ends = [float(end(np.concatenate([truth, values]))) for end in (np.min, np.max)]
    axes.plot(ends, ends, color="grey", linewidth=0.8, linestyle=":")
    share = "" if r2 is None else f", R² = {r2:.3f}"
    title = f"{counted(len(truth), 'slide')}{share}"
    axes.set(xlabel="true", ylabel="predicted", aspect="equal", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def plot_survival(path: Path, curves: Mapping[str, Curve], p_value: float | None) -> None:
    """Plot the Kaplan–Meier curves of two groups.

    Args:
        path: The file of the plot.
        curves: The curves by the name of the group.
        p_value: p-value of the log-rank test between the groups, or None if there is none.
    """
    figure = Figure(figsize=(4.8, 4.0), layout="constrained")
    axes = figure.subplots()
    for (name, curve), colour in zip(curves.items(), ("firebrick", INK), strict=False):
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
    save_figure(figure, path)
