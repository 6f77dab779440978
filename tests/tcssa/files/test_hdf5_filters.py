"""Packed blocks, unpacked as HDF5 unpacks them; what is damaged is refused."""

from contextlib import suppress
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcssa.files.boundary import UnsoundError
from tcssa.files.hdf5_filters import FLETCHER32, LZF, filters_of, fletcher32, unpacked


def packed(content: bytes, **options: Any) -> tuple[memoryview, list[int]]:
    """A block as HDF5 writes it, and what it went through."""
    with h5py.File("packed", "w", driver="core", backing_store=False) as file:
        values = np.frombuffer(content, np.uint8)
        dataset = file.create_dataset("x", data=values, chunks=(len(content),), **options)
        filters = filters_of(dataset)
        mask, stored = dataset.id.read_direct_chunk((0,))
        return memoryview(stored), [f for i, f in enumerate(filters) if not mask >> i & 1]


contents = st.one_of(
    st.binary(min_size=1, max_size=3000),
    # with repetitions near and far, and of one byte
    st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8).flatmap(
        lambda parts: st.lists(st.sampled_from(parts), min_size=1, max_size=400).map(b"".join)
    ),
    st.integers(1, 40_000).map(bytes),
)


@settings(max_examples=150)
@given(contents, st.sampled_from(["lzf", "gzip", None]), st.booleans())
def test_a_block_is_unpacked_to_what_was_packed(
    content: bytes, compression: str | None, has_sum: bool
) -> None:
    stored, filters = packed(content, compression=compression, fletcher32=has_sum)
    assert unpacked(stored, filters, 1, len(content)).tobytes() == content


@settings(max_examples=100)
@given(st.binary(min_size=1, max_size=2000))
def test_the_checksum_is_hdf5_s(content: bytes) -> None:
    stored, filters = packed(content, fletcher32=True)
    assert filters == [FLETCHER32]
    assert int.from_bytes(stored[-4:], "little") == fletcher32(memoryview(content))


@pytest.mark.parametrize("content", [bytes(10), b"\xff" * 300_001, bytes(range(256)) * 2000])
def test_the_checksum_of_many_words_is_hdf5_s(content: bytes) -> None:
    stored, _ = packed(content, fletcher32=True)
    assert int.from_bytes(stored[-4:], "little") == fletcher32(memoryview(content))


def test_every_flipped_bit_of_a_block_with_a_checksum_is_seen() -> None:
    content = np.random.default_rng(0).integers(0, 4, 400).astype(np.uint8).tobytes()
    stored, filters = packed(content, compression="lzf", fletcher32=True)
    for bit in range(len(stored) * 8):
        damaged = bytearray(stored)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UnsoundError):
            unpacked(memoryview(damaged), filters, 1, len(content))


@settings(max_examples=300)
@given(st.binary(max_size=200), st.integers(0, 5000))
def test_anything_as_lzf_is_refused_or_of_the_length_that_was_asked(
    stored: bytes, num_bytes: int
) -> None:
    with suppress(UnsoundError):
        assert len(unpacked(memoryview(stored), [LZF], 1, num_bytes)) == num_bytes


def test_filters_in_an_order_that_h5py_never_writes_are_refused() -> None:
    with h5py.File("packed", "w", driver="core", backing_store=False) as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((10,))
        plist.set_fletcher32()
        plist.set_deflate(4)
        space = h5py.h5s.create_simple((10,))
        dataset = h5py.Dataset(h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_FLOAT, space, plist))
        with pytest.raises(UnsoundError, match=r"the filters \[3, 1\] in a row"):
            filters_of(dataset)
