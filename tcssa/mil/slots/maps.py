"""Maps of a slide's patches by their first slot: as a picture, and as GeoJSON for QuPath."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tcssa.files import atomic
from tcssa.mil.slots.places import Colours, Places
from tcssa.mil.slots.routed import RoutedSlide
from tcssa.reports.slot_map import draw_slot_map
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
    rows = zip(places.coords.tolist(), routed.slots.tolist(), measured, strict=True)
    features = [
        _detection(x, y, places.side, slots[0], each, colours) for (x, y), slots, each in rows
    ]
    atomic.write_text(path, json.dumps({"type": "FeatureCollection", "features": features}))


def _detection(
    x: float, y: float, side: int, slot: int, measured: dict[str, float], colours: Colours
) -> dict[str, Any]:
    right, bottom = x + side, y + side
    return {
        "type": "Feature",
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]],
        },
        "properties": {
            "objectType": "detection",
            "classification": {
                "name": f"slot {slot}",
                "color": [round(255 * part) for part in colours[slot]],
            },
            "measurements": measured,
        },
    }
