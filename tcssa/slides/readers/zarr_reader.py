"""OME-Zarr 0.4 and 0.5: a folder of chunked arrays, one per level, and metadata beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import SlideError
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.text import read_json
from tcssa.files.zarr_store import open_array, require_files
from tcssa.slides.readers.protocol import white_outside
from tcssa.slides.readers.scenes import Scene, choose_scene

_METADATA_FILES = ("zarr.json", ".zattrs")
_V2_FILES = (".zgroup", ".zarray")
_DAMAGED = "its OME-Zarr metadata are damaged"
_UM_OF_UNIT = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
}
_MAX_SCALE = 1e12
"""Bound on scales: no pixel is larger in any unit, and products of such scales stay finite."""


class ZarrReader:
    """See `SlideReader`."""

    name = "zarr"

    def accepts(self, path: Path) -> bool:
        """See `SlideReader.accepts`: told by the metadata, without the zarr package."""
        return path.is_dir() and bool(image_folders(path))

    def open(self, path: Path) -> ZarrBackend:
        """See `SlideReader.open`."""
        return self.open_scene(path, None)

    def open_scene(self, path: Path, scene: int | None) -> ZarrBackend:
        """See `SceneReader.open_scene`: a scene is one of the images that bioformats2raw wrote."""
        folders = image_folders(path)
        if not folders:
            raise SlideError(path, "is no OME-Zarr image: it has no multiscales metadata")
        with reading(path, SlideError, hint=_DAMAGED):
            scenes = [_scene(folder) for folder in folders] if len(folders) > 1 else []
        chosen, remarks = choose_scene(path, scenes or [Scene("", 0, 0)], scene)
        folder = folders[chosen]
        _require_files(folder, folder.stat().st_mtime_ns)
        multiscale = _metadata(folder)["multiscales"][0]
        with reading(path, SlideError, hint=_DAMAGED):
            levels = _levels(path, folder, multiscale)
            return ZarrBackend(levels, _mpp(multiscale, levels[0]), remarks)


@dataclass(frozen=True)
class _Level:
    """Array of a level, the order of its axes, and the size of its pixels in µm or another unit."""

    array: Any  # zarr ships types, but is not always installed
    axes: str
    scale_x: float
    scale_y: float

    @property
    def size(self) -> tuple[int, int]:
        shape = self.array.shape
        return int(shape[self.axes.index("x")]), int(shape[self.axes.index("y")])

    def read(self, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        """Read a window of the level.

        Args:
            x0: Left edge, in pixels of the level.
            y0: Top edge.
            x1: Right edge, exclusive.
            y1: Bottom edge, exclusive.

        Returns:
            RGB pixels, ``[h, w, 3]``.
        """
        spans: dict[str, slice | int] = {"x": slice(x0, x1), "y": slice(y0, y1), "c": slice(0, 3)}
        block = np.asarray(self.array[tuple(spans.get(axis, 0) for axis in self.axes)])
        left = [axis for axis in self.axes if axis in spans]
        order = [left.index(axis) for axis in "yxc"]
        return np.ascontiguousarray(block.transpose(order))


class ZarrBackend:
    """See `SlideBackend`."""

    objective_power: float | None = None

    def __init__(
        self,
        levels: Sequence[_Level],
        mpp: tuple[float, float] | None,
        remarks: tuple[str, ...] = (),
    ) -> None:
        self._levels = list(levels)
        self.remarks = remarks
        self.mpp: tuple[float, float] | None = mpp
        first = levels[0]
        self.level_dimensions: tuple[tuple[int, int], ...] = tuple(level.size for level in levels)
        self.level_downsamples: tuple[float, ...] = tuple(
            (level.scale_x / first.scale_x + level.scale_y / first.scale_y) / 2 for level in levels
        )

    def read_region(self, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
        """See `SlideBackend.read_region`; to the nearest pixel of the level."""
        source, downsample = self._levels[level], self.level_downsamples[level]
        left, top = round(x / downsample), round(y / downsample)
        return white_outside(left, top, width, height, source.size, source.read)

    def close(self) -> None:
        """See `SlideBackend.close`."""
        self._levels.clear()


def image_folders(path: Path) -> list[Path]:
    """List the folders with multiscales: this one, or the numbered images that lie in it.

    Raises:
        SlideError: Metadata cannot be read.
    """
    if _is_image(path):
        return [path]
    numbers: list[Path] = []
    while _is_image(path / str(len(numbers))):
        numbers.append(path / str(len(numbers)))
    return numbers


def is_zarr_node(folder: Path) -> bool:
    """Tell whether a folder is a group or an array of a Zarr store."""
    return any(os.path.lexists(folder / name) for name in (*_METADATA_FILES, *_V2_FILES))


def is_zarr_array(folder: Path) -> bool:
    """Tell whether a folder is an array, below which lie chunks alone.

    Raises:
        SlideError: The metadata cannot be read.
    """
    if (folder / ".zarray").exists():
        return True
    place = folder / "zarr.json"
    return place.exists() and read_json(place, SlideError, top=dict).get("node_type") == "array"


def is_label(folder: Path) -> bool:
    """Tell whether an image of a store is a mask, which goes with another image.

    Raises:
        SlideError: The metadata cannot be read.
    """
    return "image-label" in _metadata(folder)


def _is_image(folder: Path) -> bool:
    scales = _metadata(folder).get("multiscales")
    return isinstance(scales, list) and bool(scales)


def _scene(folder: Path) -> Scene:
    """Return the name and the size of an image, without opening its array."""
    multiscale = _metadata(folder)["multiscales"][0]
    place = _within(folder, multiscale["datasets"][0]["path"])
    metadata = place / ".zarray" if (place / ".zarray").exists() else place / "zarr.json"
    axes = [axis["name"] for axis in multiscale["axes"]]
    shape = dict(zip(axes, read_json(metadata, SlideError, top=dict)["shape"], strict=True))
    return Scene(str(multiscale.get("name", folder.name)), int(shape["x"]), int(shape["y"]))


def _metadata(folder: Path) -> Mapping[str, Any]:
    """Return the OME attributes of a group, empty if it has none.

    Raises:
        SlideError: The group's metadata cannot be read.
    """
    for name in _METADATA_FILES:
        if not (folder / name).exists():
            continue
        content = read_json(folder / name, SlideError, top=dict)
        if name == "zarr.json":
            content = content.get("attributes", {})
        if isinstance(content, dict):
            found = content.get("ome", content)
            return found if isinstance(found, dict) else {}
    return {}


@lru_cache(maxsize=1000)
def _require_files(folder: Path, _mtime_ns: int) -> None:
    """Require, once per process, that a store holds nothing but files and folders."""
    require_files(folder, SlideError)


def _levels(path: Path, folder: Path, multiscale: Mapping[str, Any]) -> list[_Level]:
    axes = "".join(axis["name"] for axis in multiscale["axes"])
    if not set("xyc") <= set(axes) <= set("tczyx"):
        raise SlideError(
            path, f"its axes are {axes or 'none'}, not x, y and c", hint="convert it to RGB"
        )
    common = _scale(multiscale, len(axes))
    levels = []
    for dataset in multiscale["datasets"]:
        scale = [a * b for a, b in zip(common, _scale(dataset, len(axes)), strict=True)]
        place = _within(folder, dataset["path"])
        array = open_array(place, SlideError, extra="zarr")
        level = _Level(array, axes, scale[axes.index("x")], scale[axes.index("y")])
        _require_rgb(path, level)
        _require_a_chunk(place)
        levels.append(level)
    levels.sort(key=lambda level: level.scale_x)
    for level in levels:
        _require_same_extent(level, levels[0])
    return levels


def _require_same_extent(level: _Level, first: _Level) -> None:
    """Require that a level shows what the first shows, since its scale locates patches on it.

    Raises:
        UnsoundError: The level is larger or smaller by more than the rounding of its last pixels.
    """
    scales = level.scale_x / first.scale_x, level.scale_y / first.scale_y
    for own, scale, size in zip(level.size, scales, first.size, strict=True):
        if abs(own * scale - size) > max(2 * scale, 0.02 * size):
            raise UnsoundError(f"a level of {own} pixels at a scale of {scale:g} shows not {size}")


def _require_a_chunk(place: Path) -> None:
    """Require that an array has stored chunks: some may be left out, but not all.

    Raises:
        SlideError: The array has only its metadata.
    """
    for _, _, names in os.walk(place):
        if not set(names) <= {".zarray", ".zattrs", "zarr.json"}:
            return
    raise SlideError(place, "has no chunks", hint="copy the store again, whole")


def _within(folder: Path, name: str) -> Path:
    """Return the folder of an array, which must lie within ``folder``, at any depth."""
    parts = name.split("/")
    if not all(part.strip(".") for part in parts) or {"\\", ":"} & {*name}:  # as Windows has them
        raise ValueError(f"an array at {name!r}")
    return folder.joinpath(*parts)


def _require_rgb(path: Path, level: _Level) -> None:
    shape = dict(zip(level.axes, level.array.shape, strict=True))
    if level.array.dtype != np.uint8 or shape["c"] != 3:
        raise SlideError(
            path,
            f"its pixels are {level.array.dtype} of {shape['c']} channels, not uint8 of 3",
            hint="only pictures in 8-bit RGB are read; convert it",
        )
    if any(shape.get(axis, 1) != 1 for axis in "tz"):
        raise SlideError(path, "is a stack of pictures (t or z above 1), not one slide")


def _scale(holder: Mapping[str, Any], num_axes: int) -> list[float]:
    for transform in holder.get("coordinateTransformations") or []:
        if transform.get("type") == "scale":
            scale = [float(value) for value in transform["scale"]]
            if len(scale) != num_axes or not all(1 / _MAX_SCALE < s < _MAX_SCALE for s in scale):
                raise ValueError(f"a scale of {scale} for {num_axes} axes")
            return scale
    return [1.0] * num_axes


def _mpp(multiscale: Mapping[str, Any], first: _Level) -> tuple[float, float] | None:
    units = {axis["name"]: _UM_OF_UNIT.get(axis.get("unit", "")) for axis in multiscale["axes"]}
    x, y = units["x"], units["y"]
    return None if x is None or y is None else (first.scale_x * x, first.scale_y * y)
