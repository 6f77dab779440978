"""Rows read past the HDF5 library are those that it reads; what only it can read is left to it."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcssa.errors import FeatureFileError
from tcssa.features import open_bag
from tcssa.features.direct import find_blocks

STORED: list[dict[str, Any]] = [
    {},
    {"chunks": (256, 256)},
    {"chunks": (600, 256)},
    {"chunks": (256, 256), "compression": "gzip"},
    {"chunks": (256, 256), "compression": "gzip", "shuffle": True},
    {"chunks": (600, 256), "maxshape": (None, 256)},
    {"chunks": (1, 256)},
    {"chunks": (3, 256), "compression": "gzip"},
]


def write(path: Path, values: np.ndarray, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=values, **options)
    return path


def numbers(num_patches: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((num_patches, 256)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("stored", STORED)
def test_any_rows_are_the_library_s(tmp_path: Path, stored: dict[str, Any], dtype: type) -> None:
    values = numbers(1300, dtype)
    path = write(tmp_path / "S.h5", values, **stored)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 1300), st.integers(0, 1400))
    def check(begin: int, end: int) -> None:
        assert np.array_equal(bag.read(begin, end), values[begin:end])

    with open_bag(path) as bag:
        assert bag.file is not None
        assert find_blocks(bag.file["features"])
        assert np.array_equal(bag.read(), values)
        check()


@pytest.mark.parametrize(
    "stored",
    [
        {"chunks": (1300, 128)},
        {"chunks": (650, 256), "compression": "lzf"},
        {"chunks": (650, 256), "fletcher32": True},
        {"dtype": ">f4"},
    ],
)
def test_what_only_the_library_can_read_is_left_to_it(
    tmp_path: Path, stored: dict[str, Any]
) -> None:
    values = numbers(1300)
    with open_bag(write(tmp_path / "S.h5", values, **stored)) as bag:
        assert bag.file is not None
        assert find_blocks(bag.file["features"]) is None
        assert np.array_equal(bag.read(3, 900), values[3:900])


def test_blocks_that_were_never_written_are_left_to_the_library(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "S.h5", "w", userblock_size=512) as file:
        file.create_dataset("moved", data=numbers(900))
        file.create_dataset("features", (1300, 256), np.float32, chunks=(650, 256))[:10] = 1
        assert find_blocks(file["features"]) is None
        assert find_blocks(file["moved"]) is None  # its file begins elsewhere
    with open_bag(tmp_path / "S.h5") as bag:
        assert bag.read().sum() == 10 * 256


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


def test_a_closed_bag_holds_no_file(tmp_path: Path) -> None:
    path = write(tmp_path / "S.h5", numbers(1300))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with open_bag(path) as bag:
            bag.read(5, 9)
    write(path, numbers(1300).reshape(-1))  # refused after it was opened
    with pytest.raises(FeatureFileError):
        open_bag(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
