"""Accuracy against the number of visual tokens: what compressing a slide costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from tcssa.files import atomic

_OURS, _PUBLISHED, _FLOOR = "#3b2a5a", "#8a8a8a", "firebrick"
_NEAR = 0.03
"""Difference of accuracy below which the labels of two floors would overlap."""


@dataclass(frozen=True)
class System:
    """One system in the comparison."""

    name: str
    accuracy: float
    """Over all rows, 0 to 1."""
    num_tokens: float | None
    """Visual tokens per slide, the median where they differ; None where it is not stated."""
    low: float | None = None
    """The interval's lower end."""
    high: float | None = None
    published: bool = False
    """Somebody else's figure, not measured here."""


def plot_accuracy(
    path: Path, systems: Sequence[System], floors: Mapping[str, float], *, title: str
) -> None:
    """Write `comparison_figure` as a PNG, atomically.

    Args:
        path: The PNG to write.
        systems: The systems to compare.
        floors: Accuracy, 0 to 1, of each rule that needs no slide, by its name.
        title: Title of the figure.
    """
    figure = comparison_figure(systems, floors, title=title)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, dpi=140, format="png")


def comparison_figure(
    systems: Sequence[System], floors: Mapping[str, float], *, title: str
) -> Figure:
    """Draw accuracy against visual tokens, on a logarithmic axis.

    Systems whose number of tokens is not known stand in a strip of their own, on the right.

    Args:
        systems: The systems to compare.
        floors: Accuracy, 0 to 1, of each rule that needs no slide (majority letter …), by its name;
            drawn as lines.
        title: Title of the figure.
    """
    known = [system for system in systems if system.num_tokens is not None]
    unknown = [system for system in systems if system.num_tokens is None]
    figure = Figure(figsize=(9, 5), layout="constrained")
    widths = [4, 1.3] if unknown else [1]
    panels = figure.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False)[0]
    _draw(panels[0], known, [float(system.num_tokens or 1) for system in known])
    _log_axis(panels[0], [float(system.num_tokens or 1) for system in known])
    if unknown:
        _draw(panels[1], unknown, [0.0] * len(unknown))
        panels[1].set(xlim=(-0.3, 2.4), xticks=[], xlabel="tokens not stated")
    for axes in panels:
        for accuracy in floors.values():
            axes.axhline(100 * accuracy, color=_FLOOR, lw=0.8, ls=":")
        axes.spines[["top", "right"]].set_visible(False)
    for accuracy, label in _floor_labels(floors):
        panels[0].annotate(
            label,
            (0, 100 * accuracy),
            xycoords=("axes fraction", "data"),
            xytext=(4, 2),
            textcoords="offset points",
            color=_FLOOR,
            fontsize=8,
        )
    panels[0].set(ylabel="accuracy over all rows, %")
    figure.suptitle(title, fontsize=11)
    return figure


def _floor_labels(floors: Mapping[str, float]) -> list[tuple[float, str]]:
    """Return height and text of the floors' labels; near lines share one, above the highest."""
    by_accuracy: dict[float, list[str]] = {}
    for name, accuracy in sorted(floors.items(), key=lambda floor: -floor[1]):
        by_accuracy.setdefault(accuracy, []).append(name)
    labels: list[tuple[float, str]] = []
    lowest = 2.0
    for accuracy, names in by_accuracy.items():
        text = f"{', '.join(names)} {100 * accuracy:.1f}"
        if lowest - accuracy < _NEAR:
            labels[-1] = (labels[-1][0], f"{labels[-1][1]}, {text}")
        else:
            labels.append((accuracy, text))
        lowest = accuracy
    return labels


def _draw(axes: Axes, systems: Sequence[System], xs: Sequence[float]) -> None:
    for system, x in zip(systems, xs, strict=True):
        color = _PUBLISHED if system.published else _OURS
        y = 100 * system.accuracy
        if system.low is not None and system.high is not None:
            axes.plot([x, x], [100 * system.low, 100 * system.high], color=color, lw=1)
        fill = "white" if system.published else color
        axes.plot(x, y, "o", color=color, markerfacecolor=fill, markersize=6)
    for (system, x), shift in zip(
        zip(systems, xs, strict=True), _label_shifts(systems, xs), strict=True
    ):
        axes.annotate(
            f"{system.name} {100 * system.accuracy:.1f}",
            (x, 100 * system.accuracy),
            xytext=(7, shift),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=_PUBLISHED if system.published else _OURS,
        )


def _label_shifts(systems: Sequence[System], xs: Sequence[float]) -> list[float]:
    """Return the points by which each label moves up, so that labels do not overlap."""
    shifts = [0.0] * len(systems)
    order = sorted(range(len(systems)), key=lambda i: systems[i].accuracy)
    for position, index in enumerate(order):
        for other in order[:position]:
            near = xs[index] < 4 * max(xs[other], 1e-9) and xs[other] < 4 * max(xs[index], 1e-9)
            near = near or xs[index] == xs[other]
            # about 3.5 points of the page are one point of accuracy
            gap = 3.5 * 100 * (systems[index].accuracy - systems[other].accuracy)
            if near:
                shifts[index] = max(shifts[index], shifts[other] + 10 - gap)
    return shifts


def _log_axis(axes: Axes, xs: Sequence[float]) -> None:
    low, high = min(xs, default=1.0), max(xs, default=100.0)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.6, max(high, 4 * low) * 6)  # labels stand to the right of their points
    ticks = [1.0, 4, 16, 32, 64, 256, 1024, 4096, 16384, 65536]
    axes.xaxis.set_major_locator(FixedLocator([t for t in ticks if low / 2 <= t <= high * 2]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("visual tokens a slide (logarithmic)")
