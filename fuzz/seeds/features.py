"""Feature files: the HDF5 layouts of the field, arrays, tensors, tables and LazySlide's store."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fuzz.seeds.making import corners, made, numbers

ROWS, DIM = 80, 6
"""So many rows that the reader goes past the HDF5 library."""


def hdf5_files() -> list[bytes]:
    """TRIDENT's layout stored in every way, and those of CLAM, STAMP and AtlasPatch."""
    features = numbers(ROWS, DIM)
    ways: list[tuple[Mapping[str, Any], str]] = [
        ({}, "earliest"),
        ({}, "latest"),
        ({"chunks": (1, DIM)}, "earliest"),
        ({"chunks": (16, DIM)}, "latest"),
        ({"chunks": (32, DIM), "maxshape": (None, DIM)}, "latest"),
        ({"chunks": (32, DIM), "compression": "gzip"}, "earliest"),
        ({"chunks": (32, DIM), "compression": "gzip", "shuffle": True}, "earliest"),
        ({"chunks": (32, DIM), "compression": "gzip", "shuffle": True}, "latest"),
        ({"chunks": (32, DIM), "fletcher32": True}, "earliest"),
        ({"chunks": (32, DIM), "compression": "gzip", "fletcher32": True}, "latest"),
        ({"chunks": (32, DIM), "compression": "lzf"}, "earliest"),
    ]
    trident = [_hdf5({"features": features}, stored=how, libver=version) for how, version in ways]
    half = {"feats": features.astype(np.float16)}
    root = {"extractor": "uni", "unit": "um", "tile_size_px": 224}
    stamp = _hdf5(half, coords=corners(ROWS).astype(np.float32), root=root)
    clam = _hdf5({"features": features[:5]}, coords=corners(5), attributes={})
    return [*trident, stamp, clam, _atlaspatch(features)]


def _hdf5(
    arrays: Mapping[str, NDArray[Any]],
    *,
    stored: Mapping[str, Any] | None = None,
    coords: NDArray[Any] | None = None,
    root: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
    libver: str = "earliest",
) -> bytes:
    content = io.BytesIO()
    if attributes is None:
        attributes = {"encoder": "uni", "patch_size_level0": 224}
    with h5py.File(content, "w", libver=libver) as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, **(stored or {})).attrs.update(attributes)
        file["coords"] = corners(ROWS) if coords is None else coords
        file.attrs.update(root or {})
    return content.getvalue()


def _atlaspatch(features: NDArray[Any]) -> bytes:
    places = np.zeros((ROWS, 5), np.int64)
    places[:, :2] = corners(ROWS)
    places[:, 2:4] = 224
    return _hdf5({"features/uni": features}, coords=places, attributes={})


def npy_files() -> list[bytes]:
    """Plain arrays of all kinds that are read."""
    features = numbers(7, 3)
    arrays = [
        features,
        features.astype(np.float16),
        features.astype(">f4"),
        np.asfortranarray(features.astype(np.float64)),
        features[None],
        features[0],
    ]
    return [*map(_npy, arrays), _npy(features, version=(2, 0))]


def _npy(array: NDArray[Any], version: tuple[int, int] = (1, 0)) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, array, version=version, allow_pickle=True)
    return content.getvalue()


def pickled_npy_files() -> list[bytes]:
    """SlideChat's ``.npy``: a pickled dict of an array or a tensor."""
    import torch

    features = numbers(7, 3)
    contents: list[dict[str, Any]] = [
        {"feature": features, "index": [1, 2], "name": "x"},
        {"features": features.astype(np.float16), "n": np.int64(3)},
        {"feature": torch.from_numpy(features)},
        {"feature": torch.from_numpy(features).half()},
    ]
    return [_npy(np.array(content, dtype=object)) for content in contents]


def pt_files() -> list[bytes]:
    """Torch files of both kinds: a tensor, or a dict that holds one."""
    import torch

    rows = torch.from_numpy(numbers(7, 3))
    contents = [
        rows,
        rows.half(),
        rows.bfloat16(),
        {"features": rows.clone(), "encoder": "uni"},
        {"feat": rows[1:5, :2]},  # a part of a larger storage
    ]
    new = [_torch(content) for content in contents]
    return [*new, _torch(rows, is_new=False), _torch(contents[3], is_new=False)]


def _torch(content: Any, *, is_new: bool = True) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=is_new)
    return stream.getvalue()


def csv_files() -> list[bytes]:
    """Tables of numbers: with the patch's name behind, as SlideChat's; without; with an index."""
    rows = numbers(5, 3).tolist()
    lines = [",".join(f"{x:g}" for x in row) + f",p_{i}_0.png" for i, row in enumerate(rows)]
    plain = "\n".join(lines) + "\n"
    quoted = plain.replace("p_0_0.png", '"p_0,0.png"')
    alone = "".join(",".join(f"{x:g}" for x in row) + "\n" for row in rows)
    index = "".join(f"{i},{line}\n" for i, line in enumerate(alone.splitlines()))
    texts = (plain, f"0,1,2,name\n{plain}", f"a,b,c,patch\n{quoted}", alone, f",0,1,2\n{index}")
    return [text.encode() for text in texts]


def lazyslide_stores() -> list[bytes]:
    """LazySlide's store, with chunks that are compressed and with plain ones."""
    return [made(partial(_write_store, packed=packed), ".zarr") for packed in (True, False)]


def _write_store(path: Path, packed: bool) -> None:
    import pyarrow
    import pyarrow.parquet
    import zarr

    root = zarr.open_group(path, mode="w", zarr_format=3)
    root.attrs.update(
        slide_properties={"shape": [2240, 2240], "mpp": 0.5, "magnification": 20},
        tile_spec={"tiles": {"width": 224, "stride_width": 224, "mpp": 0.5}},
    )
    table = zarr.open_group(path / "tables" / "uni_tiles", mode="w", zarr_format=3)
    how: dict[str, Any] = {} if packed else {"compressors": None}
    table.create_array("X", data=numbers(12, 3), chunks=(5, 3), **how)
    table.create_array("obs/tile_id", data=np.arange(12), **how)
    places = corners(12)
    tiles = pyarrow.table(
        {"tile_id": list(range(12)), "geometry": [_square(*corner) for corner in places.tolist()]}
    )
    (path / "shapes" / "tiles").mkdir(parents=True)
    pyarrow.parquet.write_table(tiles, path / "shapes" / "tiles" / "shapes.parquet")


def _square(x: int, y: int) -> bytes:
    """A tile as a polygon in well-known binary form."""
    ring = [(x, y), (x + 224, y), (x + 224, y + 224), (x, y + 224), (x, y)]
    points = [float(number) for point in ring for number in point]
    return struct.pack("<BIII10d", 1, 3, 1, len(ring), *points)
