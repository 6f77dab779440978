"""Slides and masks as Pillow, tifffile and Zarr read them, and outlines by counting crossings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fuzz.oracles import RefusedError

MASK_SIDE, MASK_SCALE = 40, 10.0
"""Of the picture that masks are laid on, and level-0 pixels a pixel of it."""
_LOSSY = (7, 33003, 33005, 34712, 34887, 50001, 50002)
_NEAR_PX = 2.0


def check_tiff(path: Path, slide: Mapping[str, Any]) -> str | None:
    """Compare the patch at the corner with what tifffile decodes, where it is plain RGB.

    It is stricter than other libraries, and what it refuses says nothing; a tile without a place is
    one that was not scanned.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            pages: list[Any] = list(tiff.pages)  # its types do not tell pages from frames
            page = pages[0]
            size = (page.imagewidth, page.imagelength)
            if any(other.imagewidth > size[0] or other.imagelength > size[1] for other in pages):
                return None  # the largest is level 0, wherever it stands
            if not _is_plain(page) or not all((*page.dataoffsets, *page.databytecounts)):
                return None
            if page.is_tiled and math.prod(page.chunked) > len(page.dataoffsets):
                return "its directory has fewer tiles than its size takes"
            expected = page.asarray()
    except Exception:  # the same library's, of all types
        return None
    corner = slide["corner"]
    height, width = min(len(expected), len(corner)), min(expected.shape[1], corner.shape[1])
    if slide["dimensions"] != (expected.shape[1], expected.shape[0]):
        return "another size"
    same = np.array_equal(corner[:height, :width], expected[:height, :width])
    return None if same else "pixels differ"


def _is_plain(page: Any) -> bool:
    is_rgb = page.photometric == 2 and page.planarconfig == 1 and page.dtype == np.uint8
    is_flat = page.samplesperpixel == 3 and page.imagedepth == 1
    return is_rgb and is_flat and page.compression not in _LOSSY


def check_picture(path: Path, slide: Mapping[str, Any]) -> str | None:
    """Compare the patch at the corner with what Pillow decodes."""
    with Image.open(path) as image:
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image.load()
            return None
        expected = np.asarray(image.convert("RGB"))
    corner = slide["corner"]
    height, width = min(len(expected), len(corner)), min(expected.shape[1], corner.shape[1])
    same = np.array_equal(corner[:height, :width], expected[:height, :width])
    return None if same else "pixels differ"


def check_mask_picture(path: Path, mask: NDArray[np.bool_]) -> str | None:
    """Compare a mask with what Pillow decodes; of JPEG only that it does."""
    with Image.open(path) as image:
        image.load()
        if image.format == "JPEG" or image.mode not in ("1", "L"):
            return None
        picture = np.asarray(image.convert("L")) > 0
    side = (np.arange(MASK_SIDE) + 0.5) / MASK_SIDE
    rows = np.minimum((side * len(picture)).astype(int), len(picture) - 1)
    columns = np.minimum((side * picture.shape[1]).astype(int), picture.shape[1] - 1)
    return None if np.array_equal(mask, picture[np.ix_(rows, columns)]) else "pixels differ"


def check_outline(path: Path, mask: NDArray[np.bool_]) -> str | None:
    """Compare a mask with polygons whose inside is found by counting crossings.

    Pixels near an edge are left out, since nobody says on which side they are.
    """
    content = json.loads(path.read_bytes().decode("utf-8-sig"))
    centres = (np.arange(MASK_SIDE) + 0.5) * MASK_SCALE
    x, y = np.meshgrid(centres, centres)
    inside, near = np.zeros_like(mask), np.zeros_like(mask)
    with np.errstate(all="ignore"):
        for rings in _polygons(content):
            outer, *holes = [np.array([p[:2] for p in ring], np.float64) for ring in rings]
            polygon = _inside(outer, x, y)
            for ring in (outer, *holes):
                near |= _near(ring, x, y)
            for hole in holes:
                polygon &= ~_inside(hole, x, y)
            inside |= polygon
    wrong = int(np.count_nonzero((inside != mask) & ~near))
    return f"{wrong} pixels differ" if wrong else None


def _polygons(content: Any) -> list[Any]:
    if isinstance(content, list):
        return [polygon for each in content for polygon in _polygons(each)]
    kind = content["type"]
    if kind == "Feature" and content.get("geometry") is None:
        return []  # without an area, as points and lines
    if kind in ("FeatureCollection", "GeometryCollection"):
        inner = content["features" if kind == "FeatureCollection" else "geometries"]
        return _polygons(list(inner))
    if kind == "Feature":
        return _polygons(content["geometry"])
    if kind not in ("Polygon", "MultiPolygon"):
        return []
    polygons = content["coordinates"]
    if kind == "Polygon" and polygons:
        polygons = [polygons]
    return [rings for rings in polygons if len(rings[0]) > 2]


def _inside(ring: NDArray[np.float64], x: Any, y: Any) -> NDArray[np.bool_]:
    found = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        found ^= crosses & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
    return found


def _near(ring: NDArray[np.float64], x: Any, y: Any) -> NDArray[np.bool_]:
    near = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        along_x, along_y = ((x1 - x0) / length, (y1 - y0) / length) if length else (0.0, 0.0)
        along = np.clip((x - x0) * along_x + (y - y0) * along_y, 0, length)
        distance = np.hypot(x - x0 - along * along_x, y - y0 - along * along_y)
        near |= ~(distance > _NEAR_PX * MASK_SCALE)
    return near


def check_ome_zarr(path: Path, slide: Mapping[str, Any]) -> str | None:
    """Compare the patch at the corner with what Zarr reads of level 0.

    A chunk that is missing stands for the fill value there, as writers leave it out.
    """
    import zarr

    if path.is_file():  # a picture is read whatever its name
        return check_picture(path, slide)
    newer = path / "zarr.json"
    stored = json.loads((newer if newer.exists() else path / ".zattrs").read_bytes())
    attributes = stored["attributes"]["ome"] if newer.exists() else stored
    scales = attributes["multiscales"][0]
    places = [str(path / each["path"]) for each in scales["datasets"]]
    arrays: list[Any] = [zarr.open_array(place, mode="r") for place in places]
    array = max(arrays, key=lambda each: each.size)  # in whatever order they are listed
    if [axis["name"] for axis in scales["axes"]] != ["c", "y", "x"]:
        return None
    expected = np.asarray(array[:]).transpose(1, 2, 0)
    corner = slide["corner"]
    height, width = min(len(expected), len(corner)), min(expected.shape[1], corner.shape[1])
    same = np.array_equal(corner[:height, :width], expected[:height, :width])
    return None if same else "pixels differ"


def check_lazyslide(path: Path, bag: Mapping[str, Any]) -> str | None:
    """Compare a bag with what Zarr reads of the one table of features, all of it stored."""
    import zarr

    (table,) = (path / "tables").iterdir()
    array: Any = zarr.open_array(str(table / "X"), mode="r")
    if array.nchunks_initialized != array.nchunks:
        raise RefusedError("chunks that nobody wrote")
    same = np.array_equal(np.asarray(array[:]), bag["features"], equal_nan=True)
    return None if same else "features differ"
