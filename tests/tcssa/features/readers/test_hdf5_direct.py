"""Rows read past the HDF5 library are those that it reads; what only it can read is left to it."""

import os
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcssa.errors import FeatureFileError
from tcssa.features import open_bag
from tcssa.features.readers.hdf5_direct import find_blocks
from tcssa.files import atomic

STORED: list[dict[str, Any]] = [
    {},
    {"chunks": (256, 256)},
    {"chunks": (600, 256)},
    {"chunks": (256, 256), "compression": "gzip"},
    {"chunks": (256, 256), "compression": "gzip", "shuffle": True},
    {"chunks": (600, 256), "maxshape": (None, 256)},
    {"chunks": (1, 256)},
    {"chunks": (3, 256), "compression": "gzip"},
    {"chunks": (300, 100), "compression": "gzip", "shuffle": True},
    {"chunks": (650, 256), "compression": "lzf"},
    {"chunks": (300, 64), "compression": "lzf", "shuffle": True, "fletcher32": True},
    {"chunks": (650, 256), "fletcher32": True},
    {"chunks": (650, 256), "shuffle": True, "compression": "gzip", "fletcher32": True},
    {"chunks": (2000, 256), "maxshape": (None, None), "compression": "gzip"},
    {"dtype": ">f4"},
    {"dtype": ">f8", "chunks": (7, 99), "compression": "gzip", "shuffle": True},
]


def write(path: Path, values: np.ndarray, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=values, **options)
    return path


@pytest.mark.parametrize("stored", [each for each in STORED if "dtype" not in each])
def test_one_bag_with_an_axis_of_its_own_is_its_rows(
    tmp_path: Path, stored: dict[str, Any]
) -> None:
    values = numbers(1300)
    options = dict(stored)
    for name in ("chunks", "maxshape"):
        if name in options:
            options[name] = (1, *options[name])
    for shape in ((1, 1300, 2), (1300, 2)):
        path = write(tmp_path / "S.h5", values[None], **options)
        corners = np.arange(2600).reshape(shape)
        with h5py.File(path, "r+") as file:
            file.create_dataset("coords", data=corners)
        with open_bag(path) as bag:
            assert (bag.num_patches, bag.feature_dim) == bag.features.shape == (1300, 256)
            assert np.array_equal(bag.read(700, 1290), values[700:1290])
            assert np.array_equal(bag.read(), values)
            assert np.array_equal(bag.read_coords(5, 9), corners.reshape(1300, 2)[5:9])


def test_two_bags_in_one_file_are_not_one(tmp_path: Path) -> None:
    path = write(tmp_path / "S.h5", numbers(10).reshape(2, 5, 256))
    with pytest.raises(FeatureFileError, match=r"must be \[N, D\], found \[2, 5, 256\]"):
        open_bag(path)
    path = write(tmp_path / "T.h5", numbers(10)[None], chunks=(1, 5, 256))
    with h5py.File(path, "r+") as file:
        file.create_dataset("coords", data=np.zeros((2, 5, 2)))
    with pytest.raises(FeatureFileError, match=r"shape \[2, 5, 2\], expected \[N, 2\]"):
        open_bag(path)


def test_a_missing_block_of_such_a_bag_is_found(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "S.h5", "w") as file:
        options = {"chunks": (1, 10, 256), "compression": "gzip"}
        features = file.create_dataset("features", (1, 40, 256), "f4", **options)
        features[:, :30] = np.random.default_rng(0).random((30, 256))
    with (
        pytest.raises(FeatureFileError, match="3 of 4 blocks were written"),
        open_bag(tmp_path / "S.h5") as bag,
    ):
        bag.read()


def numbers(num_patches: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((num_patches, 256)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("stored", STORED)
def test_any_rows_are_the_library_s(tmp_path: Path, stored: dict[str, Any], dtype: type) -> None:
    values = numbers(1300, dtype)
    path = write(tmp_path / "S.h5", values, **stored)
    if "dtype" in stored:
        values = values.astype(stored["dtype"])

    @settings(max_examples=30)
    @given(st.integers(0, 1300), st.integers(0, 1400))
    def check(begin: int, end: int) -> None:
        assert np.array_equal(bag.read(begin, end), values[begin:end])

    with open_bag(path) as bag:
        assert bag.file is not None
        assert find_blocks(bag.file["features"])
        assert np.array_equal(bag.read(), values)
        check()


def left_to_the_library(path: Path, expected: np.ndarray) -> None:
    with open_bag(path) as bag:
        assert bag.file is not None
        assert find_blocks(bag.file["features"]) is None
        assert np.array_equal(bag.read(), expected)


def test_plain_blocks_of_parts_of_rows_are_left_to_the_library(tmp_path: Path) -> None:
    path = write(tmp_path / "S.h5", numbers(1300), chunks=(1300, 128))
    left_to_the_library(path, numbers(1300))


def test_packed_blocks_are_never_left_to_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives whatever lay in memory where a block unpacks to less than it should."""
    path = write(tmp_path / "S.h5", numbers(1300), chunks=(650, 256), compression="gzip")
    monkeypatch.setenv("TCSSA_MAX_PACKED_BYTES", str(650 * 256 * 4 - 1))
    with open_bag(path) as bag, pytest.raises(FeatureFileError, match="set TCSSA_MAX_PACKED_BYTES"):
        bag.read()
    monkeypatch.setenv("TCSSA_MAX_PACKED_BYTES", str(650 * 256 * 4))
    with open_bag(path) as bag:
        assert np.array_equal(bag.read(), numbers(1300))
    with h5py.File(tmp_path / "U.h5", "w", userblock_size=512) as file:
        file.create_dataset("features", data=numbers(900), chunks=(90, 256), compression="lzf")
    with open_bag(tmp_path / "U.h5") as bag:
        assert bag.file is not None
        assert find_blocks(bag.file["features"])
        assert np.array_equal(bag.read(), numbers(900))
    brain = h5py.h5t.IEEE_F32LE.copy()
    brain.set_fields(15, 7, 8, 0, 7)
    brain.set_size(2)
    with h5py.File(tmp_path / "B.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((90, 256))
        plist.set_deflate(4)
        space = h5py.h5s.create_simple((900, 256))
        dataset = h5py.h5d.create(file.id, b"features", brain, space, plist)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones((900, 256), np.float32))
    with (
        open_bag(tmp_path / "B.h5") as bag,
        pytest.raises(FeatureFileError, match="packed, and of a type or place"),
    ):
        bag.read()


def test_a_file_that_begins_with_something_else_is_left_to_the_library(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "S.h5", "w", userblock_size=512) as file:
        file.create_dataset("features", data=numbers(900))
    left_to_the_library(tmp_path / "S.h5", numbers(900))


def test_a_block_that_went_through_no_filter_is_read(tmp_path: Path) -> None:
    values = numbers(1300)
    path = write(tmp_path / "S.h5", values, chunks=(650, 256), compression="gzip", fletcher32=True)
    for mask, stored in ((0b11, values[:650].tobytes()), (0b10, zlib.compress(values[:650]))):
        with h5py.File(path, "a") as file:
            file["features"].id.write_direct_chunk((0, 0), stored, filter_mask=mask)
        with open_bag(path) as bag:
            assert np.array_equal(bag.read(), values)


def test_numbers_of_a_type_that_numpy_lacks_are_left_to_the_library(tmp_path: Path) -> None:
    brain = h5py.h5t.IEEE_F32LE.copy()
    brain.set_fields(15, 7, 8, 0, 7)
    brain.set_size(2)
    with h5py.File(tmp_path / "S.h5", "w") as file:
        space = h5py.h5s.create_simple((900, 256))
        dataset = h5py.h5d.create(file.id, b"features", brain, space)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones((900, 256), np.float32))
        file.create_dataset("others", data=numbers(2000))
    left_to_the_library(tmp_path / "S.h5", np.ones((900, 256), np.float32))


def test_every_flipped_bit_of_a_packed_block_is_seen(tmp_path: Path) -> None:
    """Deflate gives other numbers for some of them; only the checksum tells."""
    values = numbers(20)
    path = write(tmp_path / "S.h5", values, chunks=(20, 256), compression="gzip", shuffle=True)
    content = path.read_bytes()
    with h5py.File(path, "r") as file:
        block = file["features"].id.get_chunk_info(0)
    rng = np.random.default_rng(0)
    refused = 0
    for bit in rng.choice(block.size * 8, 400, replace=False):
        damaged = bytearray(content)
        damaged[block.byte_offset + bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with open_bag(path) as bag:
            try:
                assert np.array_equal(bag.read(), values)
            except FeatureFileError:
                refused += 1
    assert refused > 380  # the others lie in bits that deflate does not use


def test_a_block_that_unpacks_to_more_than_it_should_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "S.h5", numbers(20), chunks=(20, 256), compression="gzip")
    with h5py.File(path, "a") as file:
        more = zlib.compress(numbers(40).tobytes())
        file["features"].id.write_direct_chunk((0, 0), more)
    with open_bag(path) as bag, pytest.raises(FeatureFileError, match="of another length"):
        bag.read()


def test_a_file_that_is_replaced_meanwhile_is_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "S.h5", numbers(900), chunks=(300, 256))
    with open_bag(path) as bag:
        atomic.write_bytes(path, write(tmp_path / "T.h5", -numbers(900)).read_bytes())
        assert np.array_equal(bag.read(), numbers(900))


def test_what_is_no_slice_of_rows_is_the_dataset_s(tmp_path: Path) -> None:
    values = numbers(900)
    with open_bag(write(tmp_path / "S.h5", values)) as bag:
        assert np.array_equal(bag.features[::2], values[::2])
        assert np.array_equal(bag.features[7], values[7])
        assert np.array_equal(bag.features[:, 3], values[:, 3])
        assert np.array_equal(bag.features[[1, 4]], values[[1, 4]])
        assert np.array_equal(np.asarray(bag.features), values)
        assert bag.features.ndim == 2


def test_a_dataset_that_was_written_bit_by_bit_and_cut(tmp_path: Path) -> None:
    values = numbers(1300)
    with h5py.File(tmp_path / "S.h5", "w") as file:
        features = file.create_dataset(
            "features", (0, 256), np.float32, chunks=(10, 256), maxshape=(None, 256)
        )
        others = file.create_dataset("others", (0, 9), np.int64, chunks=(3, 9), maxshape=(None, 9))
        for begin in range(0, 1300, 77):
            for dataset, width in ((features, 256), (others, 9)):
                dataset.resize(min(1300, begin + 77), 0)
                dataset[begin:] = values[begin : begin + 77, :width]
        features.resize(1105, 0)
    with open_bag(tmp_path / "S.h5") as bag:
        assert np.array_equal(bag.read(), values[:1105])
        assert np.array_equal(bag.read(1000, 1104), values[1000:1104])


def test_a_damaged_block_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "S.h5", numbers(1300), chunks=(650, 256), compression="gzip")
    content = bytearray(path.read_bytes())
    with h5py.File(path, "r") as file:
        block = file["features"].id.get_chunk_info(1)
    content[block.byte_offset : block.byte_offset + block.size] = bytes(block.size)
    path.write_bytes(content)
    with open_bag(path) as bag:
        assert np.array_equal(bag.read(0, 650), numbers(1300)[:650])
        with pytest.raises(FeatureFileError, match=r"S\.h5: rows 600 to 700 cannot be read"):
            bag.read(600, 700)


def test_a_file_that_is_cut_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "S.h5", numbers(1300))
    with open_bag(path) as bag:
        os.truncate(path, path.stat().st_size - 1000)
        bag.read(0, 1000)
        with pytest.raises(FeatureFileError, match="the file ends too early"):
            bag.read(1200, 1300)


def test_a_closed_bag_is_not_read(tmp_path: Path) -> None:
    bag = open_bag(write(tmp_path / "S.h5", numbers(1300)))
    bag.read()
    bag.close()
    # its descriptor may be another file's by now
    others = [(tmp_path / "other").open("wb") for _ in range(9)]
    with pytest.raises(FeatureFileError, match="the file is closed"):
        bag.read()
    for other in others:
        other.close()


def test_a_block_at_no_place_is_left_to_the_library(tmp_path: Path) -> None:
    """Blocks are found through a tree of version 1, which has no checksum."""
    path = write(tmp_path / "S.h5", numbers(1300), chunks=(650, 256))
    content = bytearray(path.read_bytes())
    with h5py.File(path, "r") as file:
        place = file["features"].id.get_chunk_info(1).byte_offset.to_bytes(8, "little")
    assert content.count(place) == 1
    for wrong in (b"\xf0" * 8, (1 << 40).to_bytes(8, "little")):
        path.write_bytes(content.replace(place, wrong))
        with open_bag(path) as bag:
            assert len(bag.read(0, 600)) == 600
            with pytest.raises(FeatureFileError, match="rows 600 to 700 cannot be read"):
                bag.read(600, 700)
