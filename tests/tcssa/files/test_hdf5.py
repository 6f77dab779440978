"""HDF5 files give out their own, written data; everything else is one error that names the file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tcssa.errors import FeatureFileError
from tcssa.features import open_bag, read_features
from tcssa.files.hdf5 import attributes, find_object, hdf5_file, numbers


def values(num_patches: int = 6, width: int = 4) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((num_patches, width)).astype(np.float32)


def make(path: Path, fill: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def refused(path: Path, match: str) -> None:
    with pytest.raises(FeatureFileError, match=match) as caught:
        read_features(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_external_link_is_not_followed(tmp_path: Path) -> None:
    other = make(tmp_path / "other.h5", lambda file: file.create_dataset("x", data=values()))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for target in (other, fifo, tmp_path / "missing.h5"):
        link = h5py.ExternalLink(str(target), "x")
        refused(make(tmp_path / "S.h5", lambda file, to=link: file.update(features=to)), "a link")


def test_soft_links_are_not_followed(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file["features"] = h5py.SoftLink("/there")
        file["there"] = h5py.SoftLink("/features")

    refused(make(tmp_path / "S.h5", fill), "a link")


def test_numbers_that_lie_in_another_file_are_not_read(tmp_path: Path) -> None:
    raw = tmp_path / "raw.bin"
    raw.write_bytes(bytes(96))

    def fill(file: h5py.File) -> None:
        file.create_dataset("features", (6, 4), np.float32, external=[(str(raw), 0, 96)])

    refused(make(tmp_path / "S.h5", fill), "lies in another file")


def virtual(source: str, *, rows: int = 6, mapped: int = 6) -> Callable[[h5py.File], object]:
    def fill(file: h5py.File) -> None:
        file["parts"] = values()
        layout = h5py.VirtualLayout((rows, 4), np.float32)
        layout[:mapped] = h5py.VirtualSource(source, "parts", (mapped, 4))
        file.create_virtual_dataset("features", layout, fillvalue=3.0)

    return fill


def test_a_virtual_dataset_of_its_own_file_is_read(tmp_path: Path) -> None:
    assert np.array_equal(read_features(make(tmp_path / "S.h5", virtual("."))), values())


def test_virtual_datasets_of_other_files_or_with_gaps_are_refused(tmp_path: Path) -> None:
    refused(make(tmp_path / "S.h5", virtual(str(tmp_path / "gone.h5"))), "from other files")
    refused(make(tmp_path / "T.h5", virtual(".", rows=8)), "gaps: 24 of 32")
    refused(make(tmp_path / "U.h5", virtual(".", rows=9, mapped=9)), "rows that are not there")


@pytest.mark.parametrize("chunks", [None, (2, 4), (1, 4), (2, 2)])
def test_rows_that_nobody_wrote_are_refused(tmp_path: Path, chunks: tuple[int, int] | None) -> None:
    def fill(file: h5py.File) -> None:
        dataset = file.create_dataset("features", (6, 4), np.float32, chunks=chunks)
        if chunks:
            dataset[:4] = 1

    refused(make(tmp_path / "S.h5", fill), "written")


@pytest.mark.parametrize("shape", [(10**12, 1024), (10**8, 2), (3, 10**10)])
def test_a_small_file_cannot_claim_a_large_bag(tmp_path: Path, shape: tuple[int, int]) -> None:
    chunks = (1, min(shape[1], 10**6))
    path = make(
        tmp_path / "S.h5",
        lambda file: file.create_dataset("features", shape, np.float32, chunks=chunks),
    )
    refused(path, "of which most were not written")


def test_a_block_that_the_tree_does_not_name_is_missed(tmp_path: Path) -> None:
    """HDF5 counts it, does not find it and gives zeros."""
    rows = values(30)
    path = make(
        tmp_path / "S.h5", lambda file: file.create_dataset("features", data=rows, chunks=(10, 4))
    )
    content = path.read_bytes()
    # the second block's key: bytes, filter mask, first row, first column, element
    key = b"".join(n.to_bytes(size, "little") for n, size in ((160, 4), (0, 4), (10, 8), (0, 16)))
    assert content.count(key) == 1
    wrong = key[:8] + (20).to_bytes(8, "little") + key[16:]
    path.write_bytes(content.replace(key, wrong))
    refused(path, "1 of 3 blocks of rows are missing")


@pytest.mark.parametrize(
    ("coords", "match"),
    [
        (np.zeros((6, 1), np.int64), r"coords must be \[N, 2\]"),
        (np.zeros((6, 3), np.int64), r"coords must be \[N, 2\]"),
        (np.zeros(6, np.int64), "expected 2 dimensions"),
        (np.zeros((6, 2, 2), np.int64), "expected 2 dimensions"),
        (np.array(b"x"), "expected 2 dimensions"),
        (np.full((6, 2), b"7"), "must be integers or unsigned integers or floating point"),
        (h5py.Empty("f"), "is no array"),
    ],
)
def test_coords_of_another_form_are_refused(tmp_path: Path, coords: Any, match: str) -> None:
    refused(
        make(tmp_path / "S.h5", lambda file: file.update(features=values(), coords=coords)), match
    )


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300])
def test_coords_that_are_no_places_are_refused(tmp_path: Path, wrong: float) -> None:
    coords = np.zeros((6, 2))
    coords[4, 1] = wrong
    path = make(tmp_path / "S.h5", lambda file: file.update(features=values(), coords=coords))
    with open_bag(path) as bag, pytest.raises(FeatureFileError, match="places on a slide"):
        bag.read_coords()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("encoder", np.zeros(3)),
        ("extractor", 7),
        ("patch_size_level0", np.inf),
        ("patch_size_level0", np.zeros(2)),
        ("patch_size_level0", "large"),
        ("complete", np.zeros(2)),
        ("complete", "yes"),
    ],
)
def test_attributes_of_another_type_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    def fill(file: h5py.File) -> None:
        file["features"] = values()
        file["features"].attrs[name] = value

    path = make(tmp_path / "S.h5", fill)
    with pytest.raises(FeatureFileError), open_bag(path) as bag:
        assert (bag.encoder, bag.patch_size_level0) == ("never", "reached")


def test_any_damage_is_one_error_that_names_the_file(tmp_path: Path) -> None:
    """Cut anywhere, or with any byte replaced, a file is read right or refused."""
    rows, places = values(40, 8), np.arange(80).reshape(40, 2)

    def fill(file: h5py.File) -> None:
        file.create_dataset("features", data=rows, chunks=(10, 8), compression="gzip")
        file["coords"] = places
        file["features"].attrs.update(encoder="resnet", patch_size_level0=512)

    path = make(tmp_path / "S.h5", fill)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = {"read": 0, "refused": 0}
    for trial in range(1500):
        damaged = bytearray(content)
        if trial % 10 == 0:
            del damaged[rng.integers(len(damaged)) :]
        else:
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            with open_bag(path) as bag:
                read = (bag.read(), bag.read_coords(), bag.encoder, bag.patch_size_level0)
        except FeatureFileError as error:
            outcomes["refused"] += "\n" not in str(error)
            continue
        with h5py.File(path, "r") as file:  # some bytes are numbers, which nothing protects
            # where HDF5 does not find a block it gives zeros; here it is read nevertheless
            is_same = np.array_equal(read[0], file["features"][:], equal_nan=True)
            assert is_same or np.array_equal(read[0], rows)
            if "coords" in file:
                assert np.array_equal(read[1], file["coords"][:, :2])
        outcomes["read"] += 1
    assert min(outcomes.values()) > 100


def test_objects_are_found_by_hard_links_alone(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file["group/inner"] = values()
        file["group"].attrs["said"] = np.bytes_(b"so")
        file["away"] = h5py.ExternalLink("x.h5", "x")

    path = make(tmp_path / "S.h5", fill)
    with hdf5_file(path, FeatureFileError) as file:
        assert np.array_equal(numbers(file, "group/inner")[:], values())
        assert find_object(file, "group/other") is None
        assert find_object(file, "group/inner/deeper") is None
        assert attributes(file["group"]) == {"said": "so"}
    with pytest.raises(FeatureFileError, match="a link"), hdf5_file(path, FeatureFileError) as file:
        find_object(file, "away/x")
