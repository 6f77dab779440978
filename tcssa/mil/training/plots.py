"""Plots of a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tcssa.mil.results.history import Epoch, SlotUse
from tcssa.reports.figures import INK, save_figure


def plot_training(path: Path, folds: Sequence[Sequence[Epoch]], top_k: int) -> None:
    """Plot every fold's validation loss over epochs, and slots in use for a method with slots.

    Args:
        path: The image file.
        folds: The epochs of each fold.
        top_k: Slots that every patch is routed to; collapse is marked at 1.5 times this number.
    """
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
    save_figure(figure, path)


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
    """Plot the share of the patches' assignments for each slot, at the epoch that each fold kept.

    Args:
        path: The image file.
        folds: The use of the slots in each fold.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    shares = np.array([row.utilisation for row in folds])
    slots = np.arange(shares.shape[1])
    axes.bar(slots, shares.mean(axis=0), color=INK, width=0.8, label="mean over folds")
    axes.scatter(
        np.tile(slots, len(folds)), shares.ravel(), s=6, color="darkorange", label="each fold"
    )
    axes.axhline(1 / len(slots), color="grey", linewidth=0.8, linestyle=":", label="equal use")
    axes.set(xlabel="slot", ylabel="share of assignments", title="Slot utilisation in training")
    axes.set_xlim(-0.8, len(slots) - 0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    save_figure(figure, path)
