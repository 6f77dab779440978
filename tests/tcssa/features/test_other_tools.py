"""AtlasPatch and LazySlide, and how one of several sets of features is named."""

import importlib
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from shared_data import require_shared

from tcssa.errors import FeatureFileError, MissingExtraError
from tcssa.features import BagRef, find_bags, open_bag

COORDS = np.array([[0, 0, 448, 448, 0], [448, 0, 448, 448, 0], [0, 448, 448, 448, 0]], np.int32)


def write_atlaspatch(path: Path, **sets: int) -> Path:
    """A file as FORMATS.md describes AtlasPatch's; a set of features a name and its D."""
    with h5py.File(path, "w") as file:
        file["coords"] = COORDS
        for seed, (name, dim) in enumerate(sets.items()):
            rng = np.random.default_rng(seed)
            features = rng.standard_normal((len(COORDS), dim)).astype(np.float32)
            file.create_dataset(f"features/{name}", data=features)
    return path


def test_atlaspatch_is_read(tmp_path: Path) -> None:
    path = write_atlaspatch(tmp_path / "s.h5", uni=8)
    with open_bag(path) as bag, h5py.File(path) as file:
        coords = bag.read_coords(1)
        assert (bag.slide_id, bag.encoder, bag.patch_size_level0) == ("s", "uni", 448)
        assert np.array_equal(bag.read(), file["features/uni"][:])
    assert coords is not None
    assert coords.tolist() == [[448, 0], [0, 448]]


def test_the_footprint_of_patches_read_at_another_level_is_not_guessed(tmp_path: Path) -> None:
    path = write_atlaspatch(tmp_path / "s.h5", uni=8)
    with h5py.File(path, "a") as file:
        file["coords"][:, 4] = 1
    with open_bag(path) as bag:
        assert bag.patch_size_level0 is None


def test_one_of_several_sets_is_named_on_the_file_or_the_folder(tmp_path: Path) -> None:
    path = write_atlaspatch(tmp_path / "s.h5", uni=8, **{"conch_v1.5": 4})
    with pytest.raises(FeatureFileError, match=r"several sets of features: conch_v1\.5, uni"):
        open_bag(path)
    with pytest.raises(FeatureFileError, match="no features 'gigapath'"):
        open_bag(Path(f"{path}::gigapath"))
    by_file, by_folder = (
        find_bags([Path(f"{path}::conch_v1.5")]),
        find_bags([Path(f"{tmp_path}::conch_v1.5")]),
    )
    assert by_file == by_folder
    assert by_file == [BagRef(path, "conch_v1.5")]
    assert BagRef.parse(str(by_file[0])) == by_file[0]
    assert (by_file[0].address.stem, by_file[0].address.suffix) == ("s", ".h5")
    assert by_file[0].file == path
    assert by_file[0].name == "s.h5::conch_v1.5"
    with open_bag(by_file[0]) as bag:
        assert (bag.slide_id, bag.encoder, bag.feature_dim) == ("s", "conch_v1.5", 4)


def test_a_set_cannot_be_named_where_there_is_one_without_a_name(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.ones((2, 3), np.float32))
    with pytest.raises(FeatureFileError, match="one set of features"):
        open_bag(Path(f"{tmp_path / 's.npy'}::uni"))


@pytest.mark.parametrize(
    ("slide", "num_patches", "corners", "mpp"),
    [
        ("CMU-1-Small-Region", 38, [[499, 2529], [723, 1857]], 0.499),
        ("LC-001c11", 28, [[108, 108], [108, 332]], 0.5),
    ],
)
def test_genuine_lazyslide_stores(
    slide: str, num_patches: int, corners: list[list[int]], mpp: float
) -> None:
    """Corners as STRUCTURE.txt shows the polygons; features as zarr alone reads them."""
    zarr = pytest.importorskip("zarr")
    pytest.importorskip("pyarrow")
    store = require_shared("interop/lazyslide") / f"{slide}.zarr"
    expected = np.asarray(zarr.open_array(store / "tables/resnet18_random_tiles/X", mode="r")[:])
    with open_bag(store) as bag:
        assert (bag.slide_id, bag.encoder, bag.num_patches) == (
            slide,
            "resnet18_random",
            num_patches,
        )
        coords = bag.read_coords()
        assert np.array_equal(bag.read(), expected)
        assert np.array_equal(bag.read(5, 9), expected[5:9])
        assert (bag.patch_size_level0, bag.coords_unit) == (224, "level0_px")
        assert bag.attributes["mpp_level0"] == mpp
    assert coords is not None
    assert coords.dtype == np.int64
    assert coords[:2].tolist() == corners


def test_rows_follow_their_tile_ids(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    pytest.importorskip("pyarrow")
    source = require_shared("interop/lazyslide") / "LC-001c11.zarr"
    store = Path(shutil.copytree(source, tmp_path / "s.zarr"))
    keys = zarr.open_array(store / "tables/resnet18_random_tiles/obs/tile_id", mode="r+")
    with open_bag(store) as bag:
        before = bag.read_coords()
    keys[:] = np.asarray(keys[:])[::-1].copy()
    with open_bag(store) as bag:
        after = bag.read_coords()
    assert before is not None
    assert after is not None
    assert np.array_equal(after, before[::-1])
    keys[3] = 999
    with pytest.raises(FeatureFileError, match="1 rows of features belong to no tile, such as 999"):
        open_bag(store)


def test_a_folder_of_stores_is_a_cohort_and_a_set_can_be_named(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    pytest.importorskip("pyarrow")
    source = require_shared("interop/lazyslide")
    assert [bag.name for bag in find_bags([source])] == [
        "CMU-1-Small-Region.zarr",
        "LC-001c11.zarr",
    ]
    store = Path(shutil.copytree(source / "LC-001c11.zarr", tmp_path / "job/s.zarr"))
    shutil.copytree(store / "tables/resnet18_random_tiles", store / "tables/uni_v1.5_tiles")
    with pytest.raises(FeatureFileError, match=r"resnet18_random, uni_v1\.5"):
        open_bag(store)
    (found,) = find_bags([Path(f"{tmp_path / 'job'}::uni_v1.5")])
    with open_bag(found) as bag:
        assert (bag.slide_id, bag.encoder) == ("s", "uni_v1.5")
    assert found.file == store / "zarr.json"


def test_an_image_in_zarr_is_no_bag(tmp_path: Path) -> None:
    (tmp_path / "s.ome.zarr").mkdir()
    path = write_atlaspatch(tmp_path / "t.h5", uni=8)
    assert find_bags([tmp_path]) == [BagRef(path)]
    (tmp_path / "u.zarr").mkdir()
    pytest.importorskip("zarr")
    pytest.importorskip("pyarrow")
    with pytest.raises(FeatureFileError, match="is no LazySlide store"):
        open_bag(tmp_path / "u.zarr")


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.zarr").mkdir()

    def missing(name: str, *rest: Any) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError) as caught:
        open_bag(tmp_path / "s.zarr")
    assert caught.value.hint == "pip install 'tcssa[lazyslide]'"
