"""Polygons and their classes out of GeoJSON, as QuPath, TRIDENT and others write it.

Points, lines and geometries that are null have no area: they are passed over and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FileError, one_line
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.text import read_json

_NUMBERS = {int, float}  # not bool, which is an int
_HOLDERS = {"FeatureCollection": "features", "GeometryCollection": "geometries"}
_MOST_KINDS = 20
_LEAST_POINTS = 3
HINT = "export it from QuPath, or as TRIDENT writes it"

Ring = NDArray[np.float64]
"""Points (x, y), ``[n, 2]``."""
Polygon = list[Ring]
"""An outer ring, and those of holes."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """Content of a file of GeoJSON.

    Attributes:
        path: The file.
        by_class: Polygons by the name of their class; None for those without one.
        passed_over: How many things of each kind have no area.
    """

    path: Path
    by_class: dict[str | None, list[Polygon]] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)

    def describe_passed_over(self) -> str:
        """Return the kinds of things without an area with their numbers, as ``2 Point``."""
        return ", ".join(f"{number:,} {kind}" for kind, number in self.passed_over.items())


def read_drawing(path: Path, error: type[FileError]) -> Drawing:
    """Read GeoJSON: a collection of features, a bare list of them, or geometries alone.

    Args:
        path: The file.
        error: Type of the error to raise.

    Raises:
        FileError: The file cannot be read, or is no GeoJSON; of the type ``error``.
    """
    content = read_json(path, error, top=(dict, list))
    drawing = Drawing(path)
    with reading(path, error, hint=HINT):
        for name, geometry in _geometries(content, None):
            _take(drawing, name, geometry)
    return drawing


def _geometries(content: Any, name: str | None) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Yield geometries and the names of their classes, out of all that GeoJSON nests them in."""
    if isinstance(content, list):  # QuPath exports a bare list of features
        for feature in content:
            yield from _geometries(feature, name)
        return
    kind = content.get("type") if isinstance(content, dict) else None
    if not isinstance(kind, str):
        raise UnsoundError("is no GeoJSON of polygons: an object without a type")
    if kind == "Feature":
        name, inner = _class_of(content), content.get("geometry")
        if inner is None:
            yield name, {"type": "geometry that is null"}
        elif isinstance(inner, dict):
            yield from _geometries(inner, name)
        else:
            raise UnsoundError("is no GeoJSON of polygons: a Feature without geometry")
    elif kind in _HOLDERS:
        inner = content.get(_HOLDERS[kind])
        if not isinstance(inner, list):
            raise UnsoundError(f"is no GeoJSON of polygons: a {kind} without {_HOLDERS[kind]}")
        yield from _geometries(inner, name)
    else:
        yield name, content


def _class_of(feature: dict[str, Any]) -> str | None:
    """Return the name of a feature's class, as QuPath has written it in its versions."""
    properties = feature.get("properties")
    found = properties.get("classification") if isinstance(properties, dict) else None
    name = found.get("name") if isinstance(found, dict) else found
    if name is None and isinstance(found, dict) and isinstance(found.get("names"), list):
        name = ": ".join(map(str, found["names"]))  # of a class derived from others
    return name if isinstance(name, str) and name else None


def _take(drawing: Drawing, name: str | None, geometry: dict[str, Any]) -> None:
    kind, coordinates = geometry["type"], geometry.get("coordinates")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if kind not in ("Polygon", "MultiPolygon"):
        kind = one_line(kind, 40)
        is_new = kind not in drawing.passed_over and len(drawing.passed_over) >= _MOST_KINDS
        drawing.passed_over["of other kinds" if is_new else kind] += 1
        return
    if coordinates == []:
        drawing.passed_over[f"{kind} without points"] += 1
        return
    if not isinstance(polygons, list) or not all(isinstance(p, list) and p for p in polygons):
        raise UnsoundError(f"is no GeoJSON of polygons: a {kind} without rings")
    for rings in polygons:
        outer, *holes = map(_ring, rings)
        if len(outer) < _LEAST_POINTS:
            drawing.passed_over[f"{kind} of fewer than {_LEAST_POINTS} points"] += 1
        else:
            drawing.by_class.setdefault(name, []).append([outer, *holes])


def _ring(points: Any) -> Ring:
    """Return the points of a ring, without further coordinates that a point may have."""
    if not isinstance(points, list) or not points:
        raise UnsoundError("is no GeoJSON of polygons: a ring is no list of points")
    is_sound = {*map(type, points)} == {list} and min(map(len, points)) >= 2
    if not (is_sound and {*map(type, chain.from_iterable(points))} <= _NUMBERS):
        raise UnsoundError("is no GeoJSON of polygons: a point is no list of numbers")
    if max(map(len, points)) > 2:
        points = [point[:2] for point in points]
    return np.array(points, np.float64)
