"""Pictures of a run's slots, one panel a fold, drawn without a display."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from tcssa.files import atomic
from tcssa.mil.results.history import Epoch
from tcssa.mil.slots.ablation import SlotAblation
from tcssa.mil.slots.association import FoldAssociations
from tcssa.mil.slots.colours import Colours
from tcssa.mil.slots.embedding import Embedding
from tcssa.mil.slots.routed import model_name
from tcssa.mil.slots.utilisation import SlotsInUse, TokenCosine
from tcssa.statistics.metrics import Floats

FDR = 0.05
"""False discovery rate: a slot with a smaller q counts as associated."""
_INK, _MARK = "#3b2a5a", "firebrick"
_COLUMNS = 3
_LEAST_NAMED = 0.02


def plot_epochs(path: Path, folds: Mapping[int, Sequence[Epoch]]) -> None:
    """Plot the slot use of the training patches, epoch by epoch.

    Shown are effective slots, the largest share and unused slots.

    Args:
        path: The PNG.
        folds: The epochs of each fold.
    """
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    titles = {
        "effective_slots": "effective slots",
        "largest_share": "largest share of assignments",
        "unused_slots": "unused slots",
    }
    for axes, (name, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        for fold, epochs in folds.items():
            values = [getattr(row.slots, name) for row in epochs if row.slots]
            axes.plot(values, label=model_name(fold))
        axes.set(xlabel="epoch", title=title)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, frameon=False)
    _save(figure, path)


def plot_use(path: Path, folds: Sequence[SlotsInUse]) -> None:
    """Plot the mass share of every slot, and mark slots that hold no test patch.

    Args:
        path: The PNG.
        folds: The use of slots in each fold.
    """
    figure, panels = _panels(len(folds), height=2.6)
    for axes, use in zip(panels, folds, strict=True):
        slots = np.arange(len(use.mass_share))
        axes.bar(slots, use.mass_share, color=_INK, width=0.8)
        axes.axhline(1 / len(slots), color="grey", linewidth=0.8, linestyle=":")
        if use.dead:  # a line without points and clipping spoils the layout
            axes.plot(use.dead, np.zeros(len(use.dead)), "x", color=_MARK, clip_on=False)
        axes.set(
            xlabel="slot",
            ylabel="share of mass",
            title=f"{model_name(use.fold)}: {use.effective_slots:.1f} effective, "
            f"{len(use.dead)} dead",
        )
    _save(figure, path)


def plot_cosine(path: Path, folds: Sequence[TokenCosine]) -> None:
    """Plot the mean cosine of every two slot tokens; pairs that never meet are grey.

    Args:
        path: The PNG.
        folds: The token cosines of each fold.
    """
    figure, panels = _panels(len(folds), height=3.2)
    image = None
    for axes, cosine in zip(panels, folds, strict=True):
        axes.set_facecolor("lightgrey")
        image = axes.imshow(cosine.mean, cmap="RdBu_r", vmin=-1, vmax=1, aspect="equal")
        between = "" if cosine.between is None else f": {cosine.between:.2f} between slots"
        axes.set(xlabel="slot", ylabel="slot", title=f"{model_name(cosine.fold)}{between}")
    if image is not None:
        figure.colorbar(image, ax=panels, shrink=0.6, label="cosine")
    _save(figure, path)


def plot_association(path: Path, folds: Sequence[FoldAssociations], classes: Sequence[str]) -> None:
    """Plot the AUC of each slot's mass share, filled where it is significant after the correction.

    Args:
        path: The PNG.
        folds: The associations of each fold.
        classes: Names of the classes.
    """
    figure, panels = _panels(len(folds), height=2.6)
    for axes, fold in zip(panels, folds, strict=True):
        for row in fold.slots:
            stands = row.q_value < FDR
            face = _MARK if stands else "white"
            axes.plot(row.slot, row.auc, "o", color=_MARK if stands else _INK, mfc=face)
        axes.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
        counts = ", ".join(f"{count} {classes[label]}" for label, count in fold.counts.items())
        axes.set(
            xlabel="slot",
            ylabel=f"AUC for {classes[1]}" if len(classes) == 2 else "AUC, farthest class",
            ylim=(-0.03, 1.03),
            title=f"{model_name(fold.fold)}: {counts}",
        )
    _save(figure, path)


def plot_ablation(path: Path, folds: Sequence[Sequence[SlotAblation]]) -> None:
    """Plot how the log-odds of the true class change when a slot is emptied: mean and SD.

    Args:
        path: The PNG.
        folds: The ablations of each fold, one entry a slot.
    """
    figure, panels = _panels(len(folds), height=2.6, sharey=True)
    for axes, rows in zip(panels, folds, strict=True):
        known = [row for row in rows if row.true_mean is not None]
        axes.errorbar(
            [row.slot for row in known],
            [row.true_mean or 0.0 for row in known],
            yerr=[row.true_sd or 0.0 for row in known],
            fmt="o",
            color=_INK,
            markersize=4,
            linewidth=1,
        )
        axes.axhline(0, color="grey", linewidth=0.8, linestyle=":")
        axes.set(xlabel="slot", ylabel="change of log-odds", title=model_name(rows[0].fold))
    _save(figure, path)


def plot_embedding(path: Path, embedding: Embedding, colours: Mapping[int, Colours]) -> None:
    """Plot the sampled patches; a fold's panel colours and names its test patches by slot.

    Args:
        path: The PNG.
        embedding: The patches in the plane.
        colours: Colours of the slots, by fold.
    """
    figure, panels = _panels(len(colours), height=3.6)
    folds, first, xy = embedding.folds, embedding.first, embedding.xy
    for axes, (fold, of_slot) in zip(panels, colours.items(), strict=True):
        inside = folds == fold
        axes.scatter(xy[~inside, 0], xy[~inside, 1], s=3, color="#d9d9d9", linewidths=0)
        shades = [of_slot[int(k)] for k in first[inside]]
        axes.scatter(xy[inside, 0], xy[inside, 1], s=12, c=shades, linewidths=0)
        for slot in np.unique(first[inside]).tolist():
            members = xy[inside & (first == slot)]
            if len(members) >= _LEAST_NAMED * inside.sum():
                _name_heap(axes, members, slot, of_slot[slot])
        axes.set(xticks=[], yticks=[], title=f"{model_name(fold)}: {inside.sum()} patches")
        axes.spines[["left", "bottom"]].set_visible(False)  # the plane has no axes
    _save(figure, path)


def _name_heap(axes: Axes, members: Floats, slot: int, colour: tuple[float, float, float]) -> None:
    """Write a slot's number on its patch that is nearest to the median of its patches."""
    middle = np.median(members, axis=0)
    x, y = members[np.argmin(((members - middle) ** 2).sum(axis=1))]
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
    name = axes.text(x, y, str(slot), color=colour, bbox=box, ha="center", va="center")
    name.set(fontsize=9, fontweight="bold")


def _panels(count: int, *, height: float, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """Make a figure with one panel a fold, three in a row."""
    columns = min(count, _COLUMNS)
    rows = math.ceil(count / columns)
    apart = ConstrainedLayoutEngine(h_pad=0.12)  # a title stands clear of the panel above
    figure = Figure(figsize=(max(3.8 * columns, 4.5), height * rows), layout=apart)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    panels: list[Axes] = grid.ravel().tolist()
    for unused in panels[count:]:
        unused.set_axis_off()
    for axes in panels[:count]:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels[:count]


def _save(figure: Figure, path: Path) -> None:
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
