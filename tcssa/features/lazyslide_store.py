"""Telling a LazySlide store, which holds features of a slide, from an OME-Zarr image, a slide.

Both are Zarr folders, often both called ``S.zarr``: their content tells, not their names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tcssa.errors import FeatureFileError
from tcssa.files.text import read_json

STORE_SUFFIX = ".zarr"
"""Suffix of a LazySlide store, which is a folder."""
_IMAGE_SUFFIX = ".ome.zarr"
_THUMBNAIL = "thumbnail"
"""Part of the name of the only images that LazySlide puts into its stores."""


def is_store(path: Path) -> bool:
    """Tell whether a path is to be read as a LazySlide store: a Zarr folder that is no image."""
    return _is_zarr(path) and (is_lazyslide(path) or not _holds_image(path))


def is_lazyslide(path: Path) -> bool:
    """Tell whether a folder shows what only a LazySlide store has: features, or tiles and no image.

    A store of SpatialData that holds an image beside tables of another kind is a slide.
    """
    if not _is_zarr(path):
        return False
    has_parts = (path / "tables").is_dir() or (path / "shapes").is_dir()
    return has_parts and (bool(feature_tables(path)) or not _holds_image(path))


def feature_tables(store: Path) -> dict[str, str]:
    """Map each model whose features a store holds to the region of tiles that they are of."""
    shapes = store.glob("shapes/*/shapes.parquet")
    regions = sorted((shape.parent.name for shape in shapes), key=len)
    found: dict[str, str] = {}
    for table in sorted(store.glob("tables/*/X")):
        for region in regions:
            model = table.parent.name.removesuffix(f"_{region}")
            if model != table.parent.name:
                found[model] = region
    return found


def _is_zarr(path: Path) -> bool:
    return path.name.lower().endswith(STORE_SUFFIX) and path.is_dir()


def _holds_image(store: Path) -> bool:
    if store.name.lower().endswith(_IMAGE_SUFFIX):
        return True
    named = [image for image in store.glob("images/*") if _THUMBNAIL not in image.name.lower()]
    return any(_is_image(folder) for folder in (store, store / "0", *named))


def _is_image(folder: Path) -> bool:
    """Tell whether a group has OME's multiscales; one whose metadata are damaged has none."""
    for name in ("zarr.json", ".zattrs"):
        if not (folder / name).is_file():
            continue
        try:
            content: Any = read_json(folder / name, FeatureFileError, top=dict)
        except FeatureFileError:
            return False
        if name == "zarr.json":
            content = content.get("attributes")
        ome = content.get("ome", content) if isinstance(content, dict) else None
        return isinstance(ome, dict) and bool(ome.get("multiscales"))
    return False
