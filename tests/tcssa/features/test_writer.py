import errno
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from shared_data import require_shared

from tcssa.errors import DiskFullError, FeatureFileError
from tcssa.features import open_bag
from tcssa.features.guarded import GuardedFile
from tcssa.features.writer import BagHeader, write_coords, writing_features

GRID = {
    "patch_size": 256,
    "patch_size_level0": 256,
    "level0_magnification": 20,
    "target_magnification": 20,
    "overlap": 0,
    "level0_width": 2220,
    "level0_height": 2967,
}
GENUINE = "interop/trident/job/20x_256px_0px_overlap"


@pytest.fixture
def header(tmp_path: Path) -> BagHeader:
    return BagHeader("a", tmp_path, GRID, {"mpp_level0": 0.5, "params_hash": "12ab"}, "enc")


def rows(number: int, dim: int = 6, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(number, dim)).astype(np.float32), rng.integers(0, 9999, (number, 2))


def written_whole(path: Path, header: BagHeader, num_rows: int = 3000, dim: int = 6) -> None:
    features, coords = rows(num_rows, dim)
    with writing_features(path, header, num_expected=num_rows, feature_dim=dim) as writer:
        for begin in range(0, num_rows, 50):
            writer.append(features[begin : begin + 50], coords[begin : begin + 50])


def interrupted(path: Path, header: BagHeader) -> None:
    with writing_features(path, header, num_expected=4, feature_dim=6) as writer:
        writer.append(*rows(4))
        raise KeyboardInterrupt


def test_what_is_written_is_read_again(tmp_path: Path, header: BagHeader) -> None:
    features, coords = rows(2500)
    path = tmp_path / "features_enc" / "a.h5"
    with writing_features(path, header, num_expected=2500, feature_dim=6) as writer:
        for begin in range(0, 2500, 300):
            writer.append(features[begin : begin + 300], coords[begin : begin + 300])
        writer.fail(np.array([[7, 8]]))
    with open_bag(path) as bag:
        assert np.array_equal(bag.read(), features)
        assert np.array_equal(bag.read_coords(), coords)
        assert (bag.slide_id, bag.encoder, bag.patch_size_level0) == ("a", "enc", 256)
        assert bag.attributes["n_failed"] == 1
    with h5py.File(path) as file:
        assert file["features"].chunks == (1024, 6)
        assert file["failed_coords"][:].tolist() == [[7, 8]]
        assert bool(file["features"].attrs["complete"])


def test_a_small_bag_takes_little_space(tmp_path: Path, header: BagHeader) -> None:
    features, coords = rows(3, dim=1280)
    with writing_features(tmp_path / "a.h5", header, num_expected=3, feature_dim=1280) as writer:
        writer.append(features, coords)
    assert (tmp_path / "a.h5").stat().st_size < 150_000


def test_a_slide_without_patches_has_a_complete_file(tmp_path: Path, header: BagHeader) -> None:
    with writing_features(tmp_path / "a.h5", header, num_expected=0, feature_dim=6):
        pass
    with open_bag(tmp_path / "a.h5") as bag:
        assert bag.read().shape == (0, 6)
        assert bag.read_coords().shape == (0, 2)


@pytest.mark.parametrize("kind", ["features_resnet18_random/{}.h5", "patches/{}_patches.h5"])
def test_layout_equals_trident_attribute_by_attribute(
    tmp_path: Path, header: BagHeader, kind: str
) -> None:
    genuine = require_shared(GENUINE) / kind.format("CMU-1-Small-Region")
    ours = tmp_path / "ours.h5"
    if "features" in kind:
        features, coords = rows(5)
        with writing_features(ours, header, num_expected=5, feature_dim=6) as writer:
            writer.append(features, coords)
    else:
        write_coords(ours, header, rows(5)[1])
    with h5py.File(genuine) as expected, h5py.File(ours) as found:
        assert set(expected.attrs) == set(found.attrs)
        for name, dataset in expected.items():
            assert found[name].dtype == dataset.dtype
            assert found[name].ndim == dataset.ndim
            assert found[name].maxshape[0] is None
            for key, value in dataset.attrs.items():
                mine = found[name].attrs[key]
                assert type(mine) is type(value), key
                assert found[name].attrs.get_id(key).dtype == dataset.attrs.get_id(key).dtype, key


def test_features_are_stored_as_float16_when_asked(tmp_path: Path, header: BagHeader) -> None:
    features, coords = rows(4)
    path = tmp_path / "a.h5"
    with writing_features(path, header, num_expected=4, feature_dim=6, dtype="float16") as writer:
        writer.append(features, coords)
    with open_bag(path) as bag:
        assert bag.read().dtype == np.float16
        assert np.array_equal(bag.read(), features.astype(np.float16))


@pytest.mark.parametrize(("value", "dtype"), [(np.nan, "float32"), (1e6, "float16")])
def test_features_that_are_not_finite_are_refused(
    tmp_path: Path, header: BagHeader, value: float, dtype: str
) -> None:
    features, coords = rows(4)
    features[2, 1] = value
    path = tmp_path / "a.h5"
    with (
        pytest.raises(FeatureFileError, match=str(coords[2].tolist())[1:-1]),
        writing_features(path, header, num_expected=4, feature_dim=6, dtype=dtype) as writer,
    ):
        writer.append(features, coords)
    assert not list(tmp_path.iterdir())


def test_an_exception_leaves_nothing_behind(tmp_path: Path, header: BagHeader) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(KeyboardInterrupt):
        interrupted(path, header)
    assert not list(tmp_path.iterdir())


def test_an_exception_keeps_the_file_that_was_there(tmp_path: Path, header: BagHeader) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path, header)
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("at", [0, 1, 4])
def test_a_full_disk_is_told_as_such(
    tmp_path: Path, header: BagHeader, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Wherever the disk fills up, HDF5 closes in peace and nothing stays behind."""
    written = []
    really = GuardedFile._write_all

    def full(self: GuardedFile, content: bytes) -> None:
        written.append(len(content))
        if len(written) > at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        really(self, content)

    monkeypatch.setattr(GuardedFile, "_write_all", full)
    with pytest.raises(DiskFullError, match="no space left"):
        written_whole(tmp_path / "a.h5", header)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_truly_full_is_told_as_such(tmp_path: Path, header: BagHeader) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        with pytest.raises(DiskFullError, match="no space left"):
            written_whole(disk / "a.h5", header, num_rows=8000, dim=64)
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)
