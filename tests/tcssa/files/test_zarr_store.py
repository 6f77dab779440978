"""LazySlide's stores: their own, written chunks and harmless codecs alone are read."""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import zarr

from tcssa.errors import FeatureFileError
from tcssa.features import open_bag
from tcssa.files.zarr_store import open_array

FEATURES = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)


def polygon(x: float, y: float, side: float) -> bytes:
    corners = [(x + side, y), (x + side, y + side), (x, y + side), (x, y), (x + side, y)]
    return struct.pack("<BIII", 1, 3, 1, 5) + np.array(corners, "<f8").tobytes()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "S.zarr"
    root = zarr.create_group(path, zarr_format=3, attributes={"slide_properties": {}})
    table = root.create_group("tables/uni_tiles")
    table.create_array("X", data=FEATURES, chunks=(5, 8))
    table.create_array("obs/tile_id", data=np.arange(20), chunks=(10,))
    shapes = path / "shapes" / "tiles"
    shapes.mkdir(parents=True)
    tiles = {"tile_id": np.arange(20), "geometry": [polygon(7.0 * i, 3, 512) for i in range(20)]}
    pyarrow.parquet.write_table(pa.table(tiles), shapes / "shapes.parquet")
    return path


def test_a_store_is_read(store: Path) -> None:
    with open_bag(store) as bag:
        assert np.array_equal(bag.read(), FEATURES)
        coords = bag.read_coords()
        assert coords is not None
        assert coords.tolist() == [[7 * i, 3] for i in range(20)]
        assert bag.patch_size_level0 == 512


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


X, IDS = "tables/uni_tiles/X", "tables/uni_tiles/obs/tile_id"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a chunk was not copied": (lambda s: (s / X / "c/1/0").unlink(), "1 of 4 chunks are missing"),
    "ids were not copied": (lambda s: (s / IDS / "c/1").unlink(), "of one tile_id"),
    "features are not there": (lambda s: shutil.rmtree(s / X), "no patch features"),
    "tiles are not there": (
        lambda s: (s / "shapes/tiles/shapes.parquet").unlink(),
        "no patch features",
    ),
    "tiles are no table": (
        lambda s: (s / "shapes/tiles/shapes.parquet").write_bytes(b"x"),
        "cannot be read",
    ),
    "a chunk is cut": (lambda s: (s / X / "c/1/0").write_bytes(b"x"), "cannot be read"),
    "a huge claim": (lambda s: edit(s / X / "zarr.json", shape=[10**12, 8]), "claims"),
    "text in place of a shape": (lambda s: edit(s / X / "zarr.json", shape="x"), "cannot be read"),
    "another number of ids": (lambda s: edit(s / IDS / "zarr.json", shape=[19]), "do not belong"),
    "no metadata": (lambda s: (s / "zarr.json").write_text("{"), "not valid JSON"),
    "metadata of another type": (lambda s: (s / "zarr.json").write_text("[1]"), "an object"),
    "deep metadata": (lambda s: (s / X / "zarr.json").write_text("[" * 10**5), "too deeply"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(store: Path, damage: str) -> None:
    do, match = DAMAGES[damage]
    do(store)
    with pytest.raises(FeatureFileError, match=match) as caught, open_bag(store) as bag:
        bag.read()
    assert "S.zarr" in str(caught.value)


def test_a_claim_of_more_digits_than_python_prints_is_named(store: Path) -> None:
    edit(store / X / "zarr.json", shape=[10**3000, 10**3000])
    with pytest.raises(FeatureFileError, match="cannot be read"):
        open_array(store / X, FeatureFileError, extra="zarr", complete=True)


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_chunks_that_lie_elsewhere_are_not_read(store: Path, kind: str, tmp_path: Path) -> None:
    chunk = store / X / "c/1/0"
    chunk.rename(tmp_path / "elsewhere")
    if kind == "link":
        chunk.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(chunk)
    with pytest.raises(FeatureFileError, match="is a link or no regular file"):
        open_bag(store)


class _Trap:
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, ("trapped",)


@pytest.mark.parametrize("codec", [{"name": "numcodecs.pickle"}, "pickle", {"name": "run_me"}])
def test_a_codec_that_is_not_known_is_not_run(
    store: Path, codec: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    metadata = store / X / "zarr.json"
    edit(metadata, codecs=[*json.loads(metadata.read_text())["codecs"], codec])
    (store / X / "c/1/0").write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(FeatureFileError, match="which is not run"), open_bag(store) as bag:
        bag.read()
    assert not (tmp_path / "trapped").exists()


def test_codecs_of_version_2_and_within_shards_are_looked_at(tmp_path: Path) -> None:
    old = tmp_path / "old"
    zarr.create_array(old, data=FEATURES, chunks=(5, 8), zarr_format=2)
    assert open_array(old, FeatureFileError, extra="zarr").shape == (20, 8)
    edit(old / ".zarray", filters=[{"id": "vlen-utf8"}, {"id": "pickle"}])
    with pytest.raises(FeatureFileError, match="'pickle', which is not run"):
        open_array(old, FeatureFileError, extra="zarr")
    sharded = tmp_path / "sharded"
    zarr.create_array(sharded, data=FEATURES, chunks=(5, 8), shards=(10, 8))
    complete = open_array(sharded, FeatureFileError, extra="zarr", complete=True)
    assert np.array_equal(complete[:], FEATURES)
    [codec] = json.loads((sharded / "zarr.json").read_text())["codecs"]
    codec["configuration"]["codecs"].append({"name": "numcodecs.pickle"})
    edit(sharded / "zarr.json", codecs=[codec])
    with pytest.raises(FeatureFileError, match="'pickle', which is not run"):
        open_array(sharded, FeatureFileError, extra="zarr")
