"""Patches as GeoJSON that QuPath reads: a detection each, with a class and measurements."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tcssa.files import atomic

Colour = tuple[float, float, float]


def write_detections(
    path: Path,
    coords: NDArray[Any],
    side: int,
    classes: Sequence[str],
    measurements: Sequence[Mapping[str, float]],
    *,
    colours: Mapping[str, Colour],
) -> None:
    """Write one square a patch, in level-0 pixels.

    Args:
        path: The GeoJSON file.
        coords: Top-left corners in level-0 pixels, [N, 2].
        side: Side of a patch, in level-0 pixels.
        classes: Classification of each patch.
        measurements: Named numbers of each patch.
        colours: Colour of each class, RGB from 0 to 1.
    """
    shown = {name: [round(255 * part) for part in colour] for name, colour in colours.items()}
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [_square(x, y, side)]},
            "properties": {
                "objectType": "detection",
                "classification": {"name": name, "color": shown[name]},
                "measurements": measured,
            },
        }
        for (x, y), name, measured in zip(coords.tolist(), classes, measurements, strict=True)
    ]
    atomic.write_text(path, json.dumps({"type": "FeatureCollection", "features": features}))


def _square(x: float, y: float, side: int) -> list[list[float]]:
    right, bottom = x + side, y + side
    return [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
