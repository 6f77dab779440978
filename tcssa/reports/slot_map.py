"""The slot map: which slot each patch of a slide went to, drawn on the slide."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from tcssa.files import atomic
from tcssa.reports.figures import families

_MOST_NAMED = 12


def draw_slot_map(path: Path, *slide: Any, **how: Any) -> None:
    """Write `slot_map_figure` as PNG, atomically.

    Args:
        path: The PNG.
        *slide: See `slot_map_figure`.
        **how: See `slot_map_figure`.
    """
    figure = slot_map_figure(*slide, **how)
    with atomic.replacing(path) as temporary, warnings.catch_warnings():
        # of a script without any font here: boxes in the picture say so
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(temporary, dpi=120, format="png")


def slot_map_figure(
    thumbnail: NDArray[np.uint8],
    level0_per_pixel: float,
    coords: NDArray[Any],
    patch_size_level0: int,
    slots: NDArray[np.int64],
    *,
    title: str,
    labels: Mapping[int, str] | None = None,
    colours: Mapping[int, tuple[float, float, float]] | None = None,
) -> Figure:
    """Draw a slide beside the same slide with patches coloured by their first slot.

    Slots have no names: a colour says that patches share a slot, not what tissue it is.

    Args:
        thumbnail: The slide, [H, W, 3].
        level0_per_pixel: Level-0 pixels per pixel of the thumbnail.
        coords: Top-left corners of the patches in level-0 pixels, [N, 2].
        patch_size_level0: Side of a patch in level-0 pixels.
        slots: The first slot of each patch, [N].
        title: Title above the figure.
        labels: The slots to colour, most important first, with the legend's text for each; None
            colours all.
        colours: RGB of each slot, 0 to 1, where several slides should share colours; None gives the
            most important slots of this slide the most distinct ones.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.imshow(thumbnail)
        axes.set_axis_off()
    used, counts = np.unique(slots, return_counts=True)
    if labels is None:
        order = np.argsort(-counts, kind="stable")
        labels = {int(used[i]): f"{used[i]}: {counts[i]} patches" for i in order}
    if colours is None:
        palette = colormaps["tab10" if len(labels) <= 10 else "tab20"]
        colours = {slot: palette(rank % palette.N)[:3] for rank, slot in enumerate(labels)}
    side = patch_size_level0 / level0_per_pixel
    for slot in labels:
        corners = coords[slots == slot] / level0_per_pixel
        squares = [Rectangle((x, y), side, side) for x, y in corners]
        right.add_collection(PatchCollection(squares, facecolor=colours[slot], alpha=0.55, lw=0))
    _add_legend(right, labels, colours)
    # titles are what people and models write: in any language, and a $ is a $
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, family=families(), parse_math=False)
    right.set_title(f"{len(slots)} patches, {len(used)} slots", fontsize=10)
    return figure


def _add_legend(
    axes: Axes, labels: Mapping[int, str], colours: Mapping[int, tuple[float, float, float]]
) -> None:
    named = [
        Rectangle((0, 0), 1, 1, color=colours[slot], label=label)
        for slot, label in list(labels.items())[:_MOST_NAMED]
    ]
    if len(labels) > _MOST_NAMED:
        more = f"and {len(labels) - _MOST_NAMED} more"
        named.append(Rectangle((0, 0), 1, 1, alpha=0, label=more))
    axes.legend(
        handles=named,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize=8,
        title="first slot",
    )
