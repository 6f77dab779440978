"""Outlines of the tissue, for pictures and for viewers."""

from __future__ import annotations

import json
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.slides.tissue.tissue import Tissue

_LEAST_POINTS = 3


@dataclass(frozen=True)
class Contour:
    """One piece of tissue.

    Attributes:
        outline: Points (x, y) in level-0 pixels, ``[p, 2]``.
        holes: Outlines of its holes, each likewise ``[p, 2]``.
    """

    outline: NDArray[np.float64]
    holes: list[NDArray[np.float64]]


def tissue_contours(tissue: Tissue) -> list[Contour]:
    """Outline every piece of tissue, with its holes."""
    # Twice the size: outlines run through pixel centres, which then lie a quarter pixel inside.
    doubled = tissue.mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    found, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not found:
        return []
    points = [(outline.reshape(-1, 2) + 0.5) / 2 * tissue.scale for outline in found]
    contours: dict[int, Contour] = {}
    parents = hierarchy.reshape(-1, 4)[:, 3].tolist()
    for number, parent in enumerate(parents):
        if parent < 0 and len(points[number]) >= _LEAST_POINTS:
            contours[number] = Contour(points[number], [])
    for number, parent in enumerate(parents):
        if parent in contours and len(points[number]) >= _LEAST_POINTS:
            contours[parent].holes.append(points[number])
    return list(contours.values())


def to_geojson(contours: list[Contour], name: str) -> str:
    """Return the outlines as a GeoJSON FeatureCollection in level-0 pixels, like TRIDENT's.

    Args:
        contours: The pieces of tissue; each becomes a polygon with its holes.
        name: Name of the collection, such as the slide_id.
    """
    features = [
        {
            "type": "Feature",
            "properties": {"tissue_id": number},
            "geometry": {
                "type": "Polygon",
                "coordinates": [_ring(contour.outline), *map(_ring, contour.holes)],
            },
        }
        for number, contour in enumerate(contours)
    ]
    return json.dumps({"type": "FeatureCollection", "name": name, "features": features})


def _ring(points: NDArray[np.float64]) -> list[list[float]]:
    ring: list[list[float]] = np.round(points, 1).tolist()
    return [*ring, ring[0]]
