"""A hash of a bag's content, whatever file it is kept in."""

import os
from pathlib import Path

import h5py
import numpy as np
from factories import write_bag
from numpy.typing import NDArray

from tcssa.features.content import ContentHash, content_hash


def hashed(rows: NDArray[np.float32], coords: NDArray[np.int64] | None, step: int) -> str:
    content = ContentHash(rows.shape[1])
    for begin in range(0, len(rows), step):
        content.add(rows[begin : begin + step])
    return content.digest(coords)


def test_a_copy_of_another_time_and_name_has_the_same_hash(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "s1.h5")
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    os.utime(copy, (1, 1))
    assert content_hash(copy) == content_hash(path)


def test_features_without_places_are_the_same_in_hdf5_and_npy(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    np.save(tmp_path / "s1.npy", rows)
    with h5py.File(tmp_path / "s1.h5", "w") as file:
        file.create_dataset("features", data=rows, chunks=(2, 3), compression="gzip")
    assert content_hash(tmp_path / "s1.h5") == content_hash(tmp_path / "s1.npy")


def test_the_hash_does_not_depend_on_how_rows_are_split(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "s1.h5", num_patches=5000, feature_dim=3)
    with h5py.File(path) as file:
        rows, coords = file["features"][:], file["coords"][:]
    assert {hashed(rows, coords, step) for step in (7, 4096, 5000)} == {content_hash(path)}
    assert hashed(np.asfortranarray(rows), coords, 700) == content_hash(path)


def test_every_part_of_the_content_counts() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    coords = np.arange(8).reshape(4, 2)
    changed = rows.copy()
    changed[3, 2] = np.nextafter(changed[3, 2], np.float32(99))
    found = {
        hashed(rows, coords, 4),
        hashed(changed, coords, 4),
        hashed(rows[::-1], coords, 4),
        hashed(rows, coords[::-1], 4),
        hashed(rows, None, 4),
        hashed(rows.reshape(3, 4), coords, 4),
        hashed(rows, coords.astype(np.int32), 4),
    }
    assert len(found) == 7
    assert all(len(each) == 32 for each in found)
