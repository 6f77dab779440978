"""Tissue that the user outlined: GeoJSON in level-0 pixels, or a picture of the slide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FileError, one_line

_PICTURES = (".png", ".tif", ".tiff", ".jpg")
_MAX_STRETCH = 0.02


class MaskError(FileError):
    """A mask cannot be used."""


def read_mask(
    path: Path, shape: tuple[int, int], scale: float, dimensions: tuple[int, int]
) -> NDArray[np.bool_]:
    """The tissue that a file outlines, on the picture of its slide.

    Args:
        path: ``.geojson`` or ``.json`` with polygons in level-0 pixels, as QuPath and TRIDENT write
            them, holes kept; or a picture of the whole slide at any size, tissue not black.
        shape: Height and width of the slide's picture.
        scale: Level-0 pixels a pixel of it.
        dimensions: Width and height of the slide.

    Raises:
        MaskError: The file is missing, or is no such thing.
    """
    if not path.is_file():
        raise MaskError(
            path,
            "there is no such mask",
            hint="draw it, or leave this slide out of the call with --mask",
        )
    if path.suffix.lower() in _PICTURES:
        return _from_picture(path, shape, scale, dimensions)
    mask = np.zeros(shape, np.uint8)
    for polygon in _polygons(path):
        # each by itself: where two overlap there is tissue, only a polygon's own holes are none
        one = np.zeros(shape, np.uint8)
        rings = [
            np.rint(np.asarray(ring)[:, :2] / scale - 0.5).astype(np.int32) for ring in polygon
        ]
        cv2.fillPoly(one, rings[:1], 1)
        for hole in rings[1:]:
            cv2.fillPoly(one, [hole], 0)
        mask |= one
    return mask > 0


def _on_picture(ring: Any, scale: float) -> NDArray[np.int32]:
    return np.rint(np.asarray(ring, np.float64)[:, :2] / scale - 0.5).astype(np.int32)


def _polygons(path: Path) -> list[list[list[list[float]]]]:
    """Polygons as lists of rings, the outer one first."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = [rings for geometry in _geometries(content) for rings in _rings(geometry)]
        for rings in found:
            for ring in rings:
                points = np.asarray(ring, np.float64)
                if points.ndim != 2 or points.shape[1] < 2 or not np.isfinite(points).all():
                    raise ValueError("a ring is no list of points")
    except (OSError, ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        reason = f"is no GeoJSON of polygons ({one_line(error)})"
        raise MaskError(
            path, reason, hint="export it from QuPath, or as TRIDENT writes it"
        ) from None
    return found


def _geometries(content: Any) -> list[Any]:
    if isinstance(content, list):  # QuPath exports a bare list of features
        return [geometry for feature in content for geometry in _geometries(feature)]
    if content["type"] == "FeatureCollection":
        return [geometry for feature in content["features"] for geometry in _geometries(feature)]
    if content["type"] == "Feature":
        return _geometries(content["geometry"])
    if content["type"] == "GeometryCollection":
        return [one for geometry in content["geometries"] for one in _geometries(geometry)]
    return [content]


def _rings(geometry: Any) -> list[Any]:
    if geometry["type"] == "Polygon":
        return [geometry["coordinates"]]
    if geometry["type"] == "MultiPolygon":
        return list(geometry["coordinates"])
    raise ValueError(f"a {geometry['type']} has no area")


def _from_picture(
    path: Path, shape: tuple[int, int], scale: float, dimensions: tuple[int, int]
) -> NDArray[np.bool_]:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise MaskError(path, "is not a readable picture", hint="save it as an 8-bit PNG")
    height, width = picture.shape
    stretch = (width / dimensions[0]) / (height / dimensions[1])
    if abs(stretch - 1) > _MAX_STRETCH and abs(width / height * dimensions[1] - dimensions[0]) > 2:
        raise MaskError(
            path,
            f"is {width} x {height}, which is not of the shape of the slide, "
            f"{dimensions[0]} x {dimensions[1]}",
            hint="a mask is a picture of the whole slide, at any size",
        )
    # the slide's picture may reach a little beyond the slide: map centres, not corners
    rows = ((np.arange(shape[0]) + 0.5) * scale * height / dimensions[1]).astype(np.int64)
    columns = ((np.arange(shape[1]) + 0.5) * scale * width / dimensions[0]).astype(np.int64)
    inside: NDArray[np.bool_] = np.asarray(picture > 0)
    rows, columns = np.minimum(rows, height - 1), np.minimum(columns, width - 1)
    return np.asarray(inside[np.ix_(rows, columns)])
