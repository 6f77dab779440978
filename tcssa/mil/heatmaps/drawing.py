"""The picture: a slide beside its heat maps, with colour bars and a scale bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from tcssa.mil.heatmaps.scales import Floats, Scale
from tcssa.reports.figures import families, save_figure
from tcssa.slides.image.places import Places
from tcssa.slides.image.small_picture import Picture

_PANEL_IN, _BAR_IN = 4.6, 0.16
OPACITY = 0.65
_BAR_SHARE = 0.3
"""Longest part of the picture's width that the scale bar takes."""


@dataclass(frozen=True)
class Layer:
    """One heat map."""

    title: str
    values: Floats
    """[N]."""
    scale: Scale


def draw_heatmap(
    path: Path,
    picture: Picture,
    places: Places,
    layers: Sequence[Layer],
    *,
    title: str,
    shows: str = "slide",
) -> None:
    """Write the slide beside its heat maps as PNG.

    Args:
        path: The PNG.
        picture: Picture of the slide, or of the grid of its patches.
        places: Locations of the patches, in the picture's frame; without ``mpp`` there is no scale
            bar.
        layers: The heat maps, from left to right.
        title: Title of the figure.
        shows: Title of the picture.
    """
    height, width = picture.pixels.shape[:2]
    tall = min(max(_PANEL_IN * height / width, 1.5), 2 * _PANEL_IN)
    columns = 1 + len(layers)
    figure = Figure(figsize=(columns * _PANEL_IN, tall + 1.1), layout="constrained")
    axes, below = figure.subplots(2, columns, squeeze=False, height_ratios=[tall, _BAR_IN])
    for each in axes:
        each.imshow(picture.pixels)
        each.set_axis_off()
    axes[0].set_title(shows, fontsize=10)
    for each, bar, layer in zip(axes[1:], below[1:], layers, strict=True):
        colours = colormaps[layer.scale.colours]
        shown = raster(layer.scale(layer.values), places, picture.scale, (height, width))
        painted = colours(np.nan_to_num(shown))
        painted[..., 3] = OPACITY * np.isfinite(shown)
        each.imshow(painted)
        each.set_title(layer.title, fontsize=10, family=families(), parse_math=False)
        ticks = layer.scale.ticks
        drawn = figure.colorbar(ScalarMappable(cmap=colours), cax=bar, orientation="horizontal")
        drawn.set_ticks(list(ticks), labels=list(ticks.values()))
    below[0].set_axis_off()
    if places.mpp is not None:
        _add_scale_bar(below[0], width, places.mpp * picture.scale)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, family=families(), parse_math=False)
    save_figure(figure, path)


def raster(values: Floats, places: Places, scale: float, shape: tuple[int, int]) -> Floats:
    """Paint patches on a grid of pixels; where patches overlap the mean stands, elsewhere NaN.

    Args:
        values: One value a patch, [N].
        places: Locations of the patches.
        scale: Level-0 pixels per pixel of the result.
        shape: Height and width of the result.
    """
    total, count = np.zeros(shape), np.zeros(shape)
    corners = np.maximum(places.coords, 0) / scale
    begins = np.rint(corners).astype(int)
    ends = np.maximum(np.rint(corners + places.side / scale).astype(int), begins + 1)
    for value, (left, top), (right, bottom) in zip(values, begins, ends, strict=True):
        area = np.s_[top:bottom, left:right]
        total[area] += value
        count[area] += 1
    mean: Floats = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
    return mean


def round_length(longest: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is no longer than this."""
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest)


def _add_scale_bar(axes: Axes, width: int, um_per_pixel: float) -> None:
    length = round_length(_BAR_SHARE * width * um_per_pixel)
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    share = length / um_per_pixel / width
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.plot([0, share], [0.9, 0.9], color="black", lw=3, solid_capstyle="butt")
    axes.text(share / 2, 0.5, text, ha="center", va="top", fontsize=9)
