"""Containers that are opened in a store, by few requests."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tcssa.features.writer import BagHeader, writing_features
from tcssa.files.forwarding import leave_placeholder
from tcssa.files.object_reader import ObjectReader


class Files:
    """A file system that counts: batches of ranges, and single ones."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.batches: list[int] = []
        self.singles = 0

    def cat_ranges(self, keys: list[str], begins: list[int], ends: list[int], **how: Any) -> Any:
        self.batches.append(len(set(keys)))
        return [
            self.content[key][begin:end] if key in self.content else FileNotFoundError(key)
            for key, begin, end in zip(keys, begins, ends, strict=True)
        ]

    def cat_file(self, key: str, *, start: int, end: int) -> bytes:
        self.singles += 1
        return self.content[key][start:end]


@pytest.fixture
def files() -> Files:
    return Files()


def place(files: Files, path: Path, content: bytes) -> Path:
    """Put an object, and a placeholder of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.content[path.name] = content
    leave_placeholder(path, len(content), 0)
    return path


def reader_of(files: Files, paths: list[Path]) -> ObjectReader:
    reader = ObjectReader(files, lambda path: path.name)
    reader.expect(paths)
    return reader


def test_every_byte_is_read_wherever_it_lies(files: Files, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(300_000)
    path = place(files, tmp_path / "S.h5", content)
    with reader_of(files, [path]).open(path) as file:
        assert file.read() == content
        for begin, length in ((0, 10), (40_000, 50_000), (32_760, 20), (299_990, 50), (5, 0)):
            assert file.seek(begin) == begin
            assert file.read(length) == content[begin : begin + length]
        assert file.seek(-10, os.SEEK_END) == 299_990
        assert (file.read(), file.read()) == (content[-10:], b"")


def test_attributes_of_a_hundred_slides_take_a_few_batches(files: Files, tmp_path: Path) -> None:
    header = BagHeader("S", tmp_path, {"patch_size": 224}, {"params": "p" * 3000}, "uni")
    made = tmp_path / "made.h5"
    with writing_features(made, header, num_expected=3000, feature_dim=256) as writer:
        for _ in range(3):
            writer.append(np.ones((1000, 256), np.float32), np.zeros((1000, 2), np.int64))
    content = made.read_bytes()
    paths = [place(files, tmp_path / "job" / f"S{n:03}.h5", content) for n in range(100)]
    reader = reader_of(files, paths)
    for path in paths:
        with reader.open(path) as opened, h5py.File(opened) as file:
            assert file["features"].shape == (3000, 256)
            assert file["features"].attrs["params"] == "p" * 3000
            assert file["coords"].attrs["patch_size"] == 224
    assert files.batches == [1, 64, 35]
    assert files.singles == 0


def test_what_was_replaced_or_is_gone_is_not_taken_from_before(
    files: Files, tmp_path: Path
) -> None:
    paths = [place(files, tmp_path / f"S{n}.h5", b"old") for n in range(3)]
    reader = reader_of(files, paths)
    assert [reader.open(path).read() for path in paths[:2]] == [b"old", b"old"]
    place(files, paths[2], b"new")
    assert reader.open(paths[2]).read() == b"new"
    del files.content["S2.h5"]
    with pytest.raises(FileNotFoundError):
        reader.open(paths[2])
