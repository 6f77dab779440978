"""Stores as LazySlide writes them, made by zarr and pyarrow."""

import struct
from pathlib import Path
from typing import Any

import numpy as np


def write_store(
    path: Path, model: str = "test_encoder", num_tiles: int = 12, dim: int = 16
) -> Path:
    """A store of one set of features, whose thumbnail LazySlide keeps as an image."""
    import pyarrow
    import pyarrow.parquet
    import zarr

    root = zarr.open_group(path, mode="w", zarr_format=3)
    root.attrs.update(
        slide_properties={"shape": [2240, 2240], "mpp": 0.5, "magnification": 20},
        tile_spec={"tiles": {"width": 224, "stride_width": 224, "mpp": 0.5}},
    )
    write_image(path / "images/wsi_thumbnail")
    table = zarr.open_group(path / f"tables/{model}_tiles", mode="w", zarr_format=3)
    features = np.random.default_rng(num_tiles).standard_normal((num_tiles, dim))
    table.create_array("X", data=features.astype(np.float32))
    table.create_array("obs/tile_id", data=np.arange(num_tiles))
    shapes = [_square(224 * (tile % 4), 224 * (tile // 4)) for tile in range(num_tiles)]
    tiles = pyarrow.table({"tile_id": list(range(num_tiles)), "geometry": shapes})
    (path / "shapes/tiles").mkdir(parents=True)
    pyarrow.parquet.write_table(tiles, path / "shapes/tiles/shapes.parquet")
    return path


def write_image(path: Path, zarr_format: Any = 3) -> Path:
    """An OME-Zarr image of one level."""
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    group.create_array("0", data=np.zeros((3, 64, 64), np.uint8))
    scale = {"type": "scale", "scale": [1.0, 0.5, 0.5]}
    axes = [{"name": "c", "type": "channel"}, {"name": "y"}, {"name": "x"}]
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    scales: Any = [{"axes": axes, "datasets": datasets}]
    group.attrs.update(
        {"ome": {"multiscales": scales}} if zarr_format == 3 else {"multiscales": scales}
    )
    return path


def _square(x: int, y: int) -> bytes:
    ring = [(x, y), (x + 224, y), (x + 224, y + 224), (x, y + 224), (x, y)]
    points = [float(number) for point in ring for number in point]
    return struct.pack("<BIII10d", 1, 3, 1, len(ring), *points)
