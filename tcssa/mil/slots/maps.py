"""Maps of a slide's patches by their first slot: as a picture, and as GeoJSON for QuPath."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tcssa.mil.slots.colours import Colours
from tcssa.mil.slots.routed import RoutedSlide
from tcssa.reports.patches_geojson import write_detections
from tcssa.reports.slot_map import draw_slot_map
from tcssa.slides.image.places import Places
from tcssa.slides.image.small_picture import Picture


def draw_map(
    path: Path, routed: RoutedSlide, places: Places, picture: Picture, colours: Colours, title: str
) -> None:
    """Write the slide beside its map as PNG; the legend has each slot's share of the mass.

    Args:
        path: The PNG.
        routed: The slide.
        places: Locations of its patches, in the picture's frame.
        picture: Picture of the slide, or of the grid of its patches.
        colours: Colour of each slot of the fold.
        title: Title of the figure.
    """
    share = routed.mass_share
    shown = [int(k) for k in np.argsort(-share, kind="stable") if (routed.first == k).any()]
    draw_slot_map(
        path,
        picture.pixels,
        picture.scale,
        places.coords,
        places.side,
        routed.first.astype(np.int64),
        title=title,
        labels={k: f"{k}: {share[k]:.0%} of the mass" for k in shown},
        colours=colours,
    )


def write_geojson(path: Path, routed: RoutedSlide, places: Places, colours: Colours) -> None:
    """Write one square a patch, in level-0 pixels, classified by its first slot.

    QuPath reads it as detections with a class, a colour and measurements: the gate weights and,
    where the model has one, the salience, which gives a heat map of the patches that count.

    Args:
        path: The GeoJSON file.
        routed: The slide.
        places: Locations of its patches, in level-0 pixels.
        colours: Colour of each slot of the fold, RGB from 0 to 1.
    """
    measured = [
        {"gate weight": weights[0], "gate weight of all its slots": sum(weights)}
        for weights in routed.weights.tolist()
    ]
    if routed.salience is not None:
        for each, factor in zip(measured, routed.salience.tolist(), strict=True):
            each["salience"] = factor
    names = {slot: f"slot {slot}" for slot in colours}
    write_detections(
        path,
        places.coords,
        places.side,
        [names[slot] for slot in routed.first.tolist()],
        measured,
        colours={names[slot]: colour for slot, colour in colours.items()},
    )
