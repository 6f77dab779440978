"""Reading the Zarr store that LazySlide keeps beside a slide.

``tables/<model>_<region>/X`` holds features, and ``obs`` beside it the key of each row's tile;
``shapes/<region>`` holds the tiles as polygons in level-0 pixels. The packages that read Zarr and
Parquet come with the extra ``lazyslide``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError
from tcssa.features.feature_set_path import BagRef, choose_set
from tcssa.features.lazyslide_store import feature_tables
from tcssa.files.boundary import UnsoundError, reading, require_file
from tcssa.files.text import read_json
from tcssa.files.zarr_store import open_array, require_files
from tcssa.optional import require

_EXTRA = "lazyslide"
_WKB_POLYGON = 3
_MAX_RATIO = 1032
"""Bound on the compression of a file: no column of polygons and numbers exceeds it."""
_MAX_PLACE = 2.0**53
"""Bound on a tile's coordinates; larger whole numbers are not exact in float64."""


@dataclass(frozen=True)
class LazySlideFeatures:
    """One set of features of a store.

    Attributes:
        features: A Zarr array [N, D], read only where it is sliced.
        coords: Top-left corners (x, y) in level-0 pixels, int64 [N, 2].
        attributes: The store's facts about slide and tiles, under TRIDENT's names.
    """

    features: Any
    coords: NDArray[np.int64]
    attributes: dict[str, Any]


def read_store(ref: BagRef) -> LazySlideFeatures:
    """Open one set of features of a store, a folder ``S.zarr``; a set is named by its model.

    Raises:
        FeatureFileError: The path is no LazySlide store, holds no such features, or has tables and
            shapes that do not belong together.
        MissingExtraError: Zarr or pyarrow is not installed.
    """
    for package in ("zarr", "pyarrow.parquet"):
        require(package, _EXTRA)
    path = ref.path
    facts = _root_attributes(path)
    regions = feature_tables(path)
    model = choose_set(ref, list(regions))
    region = regions[model]
    table = path / "tables" / f"{model}_{region}"
    if not any((table / "X" / name).is_file() for name in ("zarr.json", ".zarray")):
        raise FeatureFileError(path, f"the features of {model} are sparse, expected a dense array")
    features = open_array(table / "X", FeatureFileError, extra=_EXTRA, complete=True)
    ids = open_array(table / "obs" / "tile_id", FeatureFileError, extra=_EXTRA)
    require_files(table / "obs" / "tile_id", FeatureFileError)
    with reading(path, FeatureFileError):
        if features.ndim != 2 or ids.shape != features.shape[:1]:
            found = f"features {list(features.shape)}, tile_id {list(ids.shape)}"
            raise UnsoundError(f"its rows do not belong together: {found}")
        keys = np.asarray(ids[:])
        tile_ids, bounds = _tiles(path / "shapes" / region / "shapes.parquet")
        # a chunk of tile_id that was not copied reads as zeros, or as empty text
        for kind, each in (("rows of features", keys), ("tiles", tile_ids)):
            if len(np.unique(each)) != len(each):
                raise UnsoundError(f"several {kind} are of one tile_id")
        rows = bounds[_positions(path, tile_ids, keys)]
        corners = np.rint(rows[:, :2]).astype(np.int64)
        sides = np.unique(np.rint(rows[:, 2:] - rows[:, :2]))
        side = int(sides[0]) if len(sides) == 1 else None
        return LazySlideFeatures(features, corners, _described(facts, region, model, side))


def _tiles(shapes: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read the tile_id of each tile, and its bounds [N, 4]: least x and y, greatest x and y."""
    parquet = require("pyarrow.parquet", _EXTRA)
    size = require_file(shapes, FeatureFileError)
    with reading(shapes, FeatureFileError):
        file = parquet.ParquetFile(shapes)
        facts = file.metadata
        unpacked = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
        if facts.num_rows > size or unpacked > _MAX_RATIO * size:
            raise UnsoundError(f"claims {facts.num_rows:,} tiles, more than can be stored in it")
        tiles = file.read(columns=["tile_id", "geometry"])
        bounds = np.array([_bounds(shape.as_py()) for shape in tiles["geometry"]], np.float64)
        if not (np.abs(bounds) < _MAX_PLACE).all():
            raise UnsoundError("a tile does not lie on any slide")
        return tiles["tile_id"].to_numpy(), bounds.reshape(-1, 4)


def _root_attributes(path: Path) -> dict[str, Any]:
    metadata = path / "zarr.json"
    attributes: Any = None
    if metadata.exists():
        attributes = read_json(metadata, FeatureFileError, top=dict).get("attributes")
    if not isinstance(attributes, dict):
        reason = "is no LazySlide store (no zarr.json with attributes)"
        raise FeatureFileError(path, reason, hint="known are stores of Zarr version 3")
    return attributes


def _positions(path: Path, tile_ids: NDArray[Any], keys: NDArray[Any]) -> NDArray[np.intp]:
    """Find the position of each key among the tiles.

    Raises:
        FeatureFileError: A key belongs to no tile.
    """
    order = np.argsort(tile_ids, kind="stable")
    places = np.searchsorted(tile_ids, keys, sorter=order)
    found = order[np.minimum(places, len(order) - 1)] if len(order) else places
    strangers = keys[tile_ids[found] != keys] if len(order) else keys
    if len(strangers):
        reason = f"{len(strangers)} rows of features belong to no tile, such as {strangers[0]}"
        raise FeatureFileError(path, reason, hint="extract its features again with LazySlide")
    return found


def _bounds(shape: bytes) -> tuple[float, float, float, float]:
    """Return the least x and y, then the greatest, of a polygon in well-known binary form."""
    order = "<" if shape[0] == 1 else ">"
    kind, num_rings, num_points = struct.unpack_from(f"{order}III", shape, 1)
    if kind != _WKB_POLYGON or not num_rings:
        raise ValueError("a tile is no polygon")
    points = np.frombuffer(shape, f"{order}f8", 2 * num_points, offset=13).reshape(-1, 2)
    return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())


def _described(
    facts: Mapping[str, Any], region: str, model: str, side: int | None
) -> dict[str, Any]:
    slide = facts.get("slide_properties") or {}
    spec = (facts.get("tile_spec") or {}).get(region) or {}
    height, width = slide.get("shape") or (None, None)
    known = {
        "encoder": model,
        "patch_size": spec.get("width"),
        "patch_size_level0": side,
        "level0_magnification": slide.get("magnification"),
        "level0_width": width,
        "level0_height": height,
        "mpp_level0": slide.get("mpp"),
        "mpp_target": spec.get("mpp"),
    }
    if None not in (spec.get("width"), spec.get("stride_width")):
        known["overlap"] = spec["width"] - spec["stride_width"]
    return {name: value for name, value in known.items() if value is not None}
