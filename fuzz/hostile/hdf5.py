"""HDF5 that hands out other files, was never written, is damaged, or holds odd types."""

from __future__ import annotations

import io
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fuzz.hostile.case import Case
from fuzz.seeds.features import DIM, ROWS, hdf5_files
from fuzz.seeds.making import corners, numbers

Fill = Callable[[h5py.File], object]


def cases() -> Iterator[Case]:
    """Make all HDF5 files of the corpus."""
    for name, fill in {**_ELSEWHERE, **_UNWRITTEN, **_ODD}.items():
        heavy = name.startswith(("sparse", "link-to-a-device"))
        yield Case("hdf5", name, _file(fill), name not in _SOUND, heavy)
    yield Case("hdf5", "external-storage", _external_storage())
    yield from _damaged()
    for name, content in (("gzip-checksum", hdf5_files()[5]), ("gzip-shuffle", hdf5_files()[6])):
        yield Case("hdf5", f"{name}-flipped-bit", flipped_in_block(content))


def _file(fill: Fill) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        fill(file)
    return content.getvalue()


def _with(**arrays: Any) -> Fill:
    """Return what fills a file with sound features and corners, but for what is given."""

    def fill(file: h5py.File) -> None:
        for name, values in {"features": numbers(3, DIM), "coords": corners(3), **arrays}.items():
            if values is not None:
                file.create_dataset(name, data=values)

    return fill


def _attribute(name: str, value: Any, holder: str = "features") -> Fill:
    def fill(file: h5py.File) -> None:
        _with()(file)
        (file if holder == "/" else file[holder]).attrs[name] = value

    return fill


def _claimed(**how: Any) -> Fill:
    """Return what claims a dataset and writes none of it."""

    def fill(file: h5py.File) -> None:
        file.create_dataset("features", dtype="f4", **how)

    return fill


def _three_quarters(file: h5py.File) -> None:
    rows = file.create_dataset("features", (ROWS, DIM), "f4", chunks=(20, DIM))
    rows[:60] = numbers(60, DIM)


def _link(place: str, to: str, inner: str = "features") -> Fill:
    def fill(file: h5py.File) -> None:
        if place != "features":
            file["features"] = numbers(3, DIM)
        file[place] = h5py.ExternalLink(to, inner)

    return fill


def _virtual(source: str, inner: str = "features") -> Fill:
    def fill(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((3, DIM), "f4")
        layout[:] = h5py.VirtualSource(source, inner, (3, DIM))
        file.create_virtual_dataset("features", layout, fillvalue=3.0)

    return fill


def _soft_cycle(file: h5py.File) -> None:
    file["features"] = h5py.SoftLink("/other")
    file["other"] = h5py.SoftLink("/features")


def _external_storage() -> bytes:
    """Features whose bytes lie in another file, here the machine's list of users."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "S.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset(
                "features", (8, 4), "f2", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
            )
        return path.read_bytes()


def _empty(name: str) -> Fill:
    def fill(file: h5py.File) -> None:
        _with(**{name: None})(file)
        file.create_dataset(name, dtype=h5py.Empty("f4"))

    return fill


def _raw_attribute(name: str, raw: bytes) -> Fill:
    """Return what gives a fixed-length text of any bytes to the features."""

    def fill(file: h5py.File) -> None:
        _with()(file)
        file["features"].attrs.create(name, np.bytes_(raw), dtype=h5py.string_dtype("utf-8", 12))

    return fill


def flipped_in_block(content: bytes) -> bytes:
    """Flip a bit in a deflated block so that it still unpacks to its length, and nothing fits.

    The checksum behind the block is all that tells.
    """
    with h5py.File(io.BytesIO(content), "r") as file:
        block = file["features"].id.get_chunk_info(0)
        expected = int(np.prod(file["features"].chunks)) * file["features"].dtype.itemsize
    for bit in range(64, block.size * 8):
        damaged = bytearray(content)
        damaged[block.byte_offset + bit // 8] ^= 1 << bit % 8
        stored = bytes(damaged[block.byte_offset : block.byte_offset + block.size])
        try:
            unpacked = zlib.decompressobj().decompress(stored, expected)
        except zlib.error:
            continue
        if len(unpacked) == expected:
            return bytes(damaged)
    raise AssertionError("every flipped bit shows before the checksum")


def _damaged() -> Iterator[Case]:
    """Sound files of which one structure is broken."""
    plain, gzipped = hdf5_files()[0], hdf5_files()[5]
    for mark in (b"SNOD", b"HEAP", b"TREE"):
        yield Case("hdf5", f"no-{mark.decode()}", plain.replace(mark, b"XXXX"))
    yield Case("hdf5", "no-block-tree", _replaced_last(gzipped, b"TREE", b"XXXX"))
    yield Case("hdf5", "cut-in-its-data", plain[: len(plain) * 3 // 4])
    latest = bytearray(hdf5_files()[1])
    latest[latest.find(b"OHDR", 60) + 20] ^= 1
    yield Case("hdf5", "header-checksum", bytes(latest))
    address = bytearray(plain)
    at = address.find(b"TREE") + 32  # where the tree's first entry points
    address[at : at + 8] = (2**40).to_bytes(8, "little")
    yield Case("hdf5", "address-past-the-end", bytes(address))


def _replaced_last(content: bytes, old: bytes, new: bytes) -> bytes:
    at = content.rindex(old)
    return content[:at] + new + content[at + len(old) :]


def _compound(file: h5py.File) -> None:
    file["features"] = np.zeros(3, [("x", "f4"), ("y", "f4")])


_ELSEWHERE: dict[str, Fill] = {
    "external-link": _link("features", "other.h5"),
    "external-link-to-itself": _link("features", "input.h5"),
    "external-link-of-coords": _link("coords", "other.h5", "coords"),
    "external-link-in-a-group": _link("sets/uni", "other.h5"),
    "link-to-a-device": _link("features", os.devnull.replace("null", "zero")),
    "virtual-source-missing": _virtual("other.h5"),
    "virtual-source-of-itself": _virtual(".", "features"),
    "soft-cycle": _soft_cycle,
}
_UNWRITTEN: dict[str, Fill] = {
    "nothing-written": _claimed(shape=(ROWS, DIM)),
    "nothing-written-in-blocks": _claimed(shape=(ROWS, DIM), chunks=(20, DIM)),
    "three-quarters-written": _three_quarters,
    "sparse-1e8-rows": _claimed(shape=(10**8, 16), chunks=(1000, 16), compression="gzip"),
    "sparse-1e12-rows": _claimed(shape=(10**12, 16), chunks=(1000, 16)),
    "sparse-wide": _claimed(shape=(2, 10**9), chunks=(1, 10**6)),
    "sparse-contiguous": _claimed(shape=(10**9, 16)),
}
_ODD: dict[str, Fill] = {
    "coords-of-one-column": _with(coords=corners(3)[:, :1]),
    "coords-of-one-axis": _with(coords=np.arange(3)),
    "coords-of-three-axes": _with(coords=np.zeros((3, 2, 2))),
    "coords-of-text": _with(coords=np.array([[b"a", b"b"]] * 3)),
    "coords-nan": _with(coords=np.full((3, 2), np.nan)),
    "coords-infinite": _with(coords=np.full((3, 2), np.inf)),
    "coords-scalar": _with(coords=np.float32(1)),
    "coords-null": _empty("coords"),
    "coords-of-other-rows": _with(coords=corners(2)),
    "features-null": _empty("features"),
    "features-of-integers": _with(features=np.ones((3, DIM), np.int64)),
    "features-of-text": _with(features=np.array([[b"a", b"b"]] * 3)),
    "features-complex": _with(features=np.ones((3, DIM), np.complex64)),
    "features-compound": _compound,
    "features-of-three-axes": _with(features=np.zeros((2, 3, DIM), np.float32)),
    "complete-is-an-array": _attribute("complete", np.array([True, False])),
    "encoder-is-an-array": _attribute("encoder", np.array([1.0, 2.0])),
    "unit-is-an-array": _attribute("unit", np.array([1, 2]), "/"),
    "patch-size-infinite": _attribute("patch_size_level0", np.inf),
    "patch-size-negative": _attribute("patch_size_level0", -5),
    "name-of-two-lines": _attribute("encoder", "a\nb\x1b[31m"),
    "name-not-utf-8": _raw_attribute("encoder", b"\xff\xfe"),
    "no-features": _with(features=None),
}
_SOUND = ("name-of-two-lines", "name-not-utf-8", "external-link-in-a-group")
"""Odd in what nobody asks for, or in words: these are read."""
