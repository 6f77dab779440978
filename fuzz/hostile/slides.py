"""Slides and masks that claim sizes nobody has, are cut short, or lie in their outlines."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from fuzz.folders import pack, unpack
from fuzz.hostile.case import Case
from fuzz.hostile.features import zstd_claim
from fuzz.seeds import slides as seeds

_TILE_WIDTH, _TILE_HEIGHT, _WIDTH, _HEIGHT = 322, 323, 256, 257
_LENGTHS = 325


def cases() -> Iterator[Case]:
    """Make all slides and masks of the corpus."""
    yield from _tiffs()
    yield from _pictures()
    yield from _outlines()
    yield from _stores()


def with_tags(content: bytes, values: dict[int, int]) -> bytes:
    """Give tags of the first directory other values, with as much data as before."""
    damaged = bytearray(content)
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        order, tags = tiff.byteorder, tiff.pages.first.tags
        for code, value in values.items():
            code_at = tags[code].offset
            struct.pack_into(f"{order}HIi", damaged, code_at + 2, 4, 1, value)
    return bytes(damaged)


def _tiffs() -> Iterator[Case]:
    plain, packed = seeds.small_tiffs()
    claims = {
        "tile-of-65536": {_TILE_WIDTH: 65_536, _TILE_HEIGHT: 65_536, _WIDTH: 65_536,
                          _HEIGHT: 65_536},
        "tile-65536-high": {_TILE_HEIGHT: 65_536, _HEIGHT: 65_536},
        "tile-of-2-to-the-30": {_TILE_WIDTH: 2**30, _TILE_HEIGHT: 2**30},
        "tile-of-none": {_TILE_WIDTH: 0, _TILE_HEIGHT: 0},
        "size-of-none": {_WIDTH: 0, _HEIGHT: 0},
        "fewer-tiles-than-its-width": {_WIDTH: 64_000},
        "tile-of-2e9-bytes": {_LENGTHS: 2**31 - 1},
    }  # fmt: skip
    for target in ("tiff", "tiffslide"):
        for name, values in claims.items():
            yield Case(target, name, with_tags(plain, values), ended_process="65536" in name)
            yield Case(target, f"{name}-packed", with_tags(packed, values),
                       ended_process="65536" in name)  # fmt: skip
        yield Case(target, "cut-in-its-tiles", plain[: len(plain) // 2])
        yield Case(target, "no-directory", b"II*\0\0\0\0\0")
        yield Case(target, "directory-in-itself", _looped(plain))


def _looped(content: bytes) -> bytes:
    """Let the only directory name itself as the next."""
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    end = at + 2 + 12 * count
    return content[:end] + struct.pack("<I", at) + content[end + 4 :]


def png(width: int, height: int, *, pixels: bytes = b"") -> bytes:
    """Write a PNG of one bit a pixel that claims a size."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    written = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


def _pictures() -> Iterator[Case]:
    sizes = {"tall": (1, 178_000_000), "wide": (178_000_000, 1), "of-2-to-the-31": (2**31 - 1,) * 2,
             "of-none": (0, 0), "of-30000": (30_000, 30_000)}  # fmt: skip
    for target in ("picture", "mask-png"):
        for name, size in sizes.items():
            yield Case(target, name, png(*size), ended_process=name in ("tall", "wide", "of-30000"))
    disc, jpeg, tiff, _ = seeds.mask_pictures()
    yield Case("mask-png", "cut", disc[:-30])
    yield Case("mask-png", "checksum", _flipped(disc, disc.find(b"IDAT") + 8))
    yield Case("mask-jpg", "cut-in-half", jpeg[: len(jpeg) // 2])
    yield Case("mask-jpg", "without-its-end", jpeg[: len(jpeg) * 9 // 10])
    yield Case("mask-tif", "cut", tiff[: len(tiff) // 2])
    flat = np.zeros((10, 40), np.uint8)
    stretched = io.BytesIO()
    Image.fromarray(flat).save(stretched, "PNG")
    yield Case("mask-png", "of-another-shape", stretched.getvalue())
    picture = seeds.pictures()[0]
    yield Case("picture", "cut", picture[:-30])
    yield Case("picture", "jpeg-cut", seeds.pictures()[4][:-200])


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def _outlines() -> Iterator[Case]:
    square = [[100, 100], [300, 100], [300, 300], [100, 300], [100, 100]]

    def far(value: Any) -> list[Any]:
        return [square[0], [value, 100], *square[2:]]

    rings: dict[str, list[Any]] = {
        "vertex-at-3e10": far(3e10), "vertex-at-1e308": far(1e308), "vertex-at-1e30": far(10**30),
        "vertex-at-minus-3e10": far(-3e10), "vertex-of-text": far("x"), "vertex-null": far(None),
        "vertex-nested": far([1]), "vertex-of-one-number": [[1], [2], [3]],
        "vertex-nan": far(1e999), "of-no-vertex": [],
    }  # fmt: skip
    for name, ring in rings.items():
        heavy = "3e10" in name or "1e308" in name
        yield Case("geojson", name, _geojson("Polygon", [ring]), ended_process=heavy)
    far_hole = [square, far(3e10)]
    yield Case("geojson", "hole-at-3e10", _geojson("Polygon", far_hole), ended_process=True)
    yield Case("geojson", "a-line", _geojson("LineString", square))
    yield Case("geojson", "no-coordinates", b'{"type": "Polygon"}')
    yield Case("geojson", "type-of-a-list", b'{"type": ["Polygon"], "coordinates": []}')
    yield Case("geojson", "a-number", b"7")
    yield Case("geojson", "nested", b"[" * 2_000 + b"]" * 2_000)
    deep = '{"type": "GeometryCollection", "geometries": [' * 200 + "]}" * 200
    yield Case("geojson", "collections-nested", deep.encode())


def _geojson(kind: str, coordinates: Any) -> bytes:
    geometry = {"type": kind, "coordinates": coordinates}
    return json.dumps({"type": "Feature", "geometry": geometry}).encode()


def _stores() -> Iterator[Case]:
    for seed, version in zip(seeds.ome_zarrs(), ("04", "05"), strict=True):
        files = unpack(seed)
        metadata = "0/zarr.json" if version == "05" else "0/.zarray"
        chunks = [name for name in files if name.startswith("0/") and name[-1].isdigit()]
        gone = {name: content for name, content in files.items() if name != chunks[-1]}
        yield Case("ome-zarr", f"{version}-chunk-gone", pack(gone), is_refused=False)
        cut = {**files, chunks[0]: files[chunks[0]][:-3]}
        yield Case("ome-zarr", f"{version}-chunk-cut", pack(cut))
        chunk = bytearray(files[chunks[0]])
        struct.pack_into("<I", chunk, 4, 2**31 - 17)  # what is unpacked, as blosc states it
        claim = bytes(chunk) if version == "04" else zstd_claim(2**40)
        bomb = pack({**files, chunks[0]: claim})
        yield Case("ome-zarr", f"{version}-chunk-claims", bomb, ended_process=True)
        for name, (old, new) in {
            "chunk-of-1e10": (b"32,", b"10000000000,"),
            "size-of-1e12": (b"64,", b"1000000000000,"),
            "size-negative": (b"64,", b"-64,"),
        }.items():
            changed = files[metadata].replace(old, new, 1)
            assert changed != files[metadata], name
            yield Case("ome-zarr", f"{version}-{name}", pack({**files, metadata: changed}),
                       ended_process=True)  # fmt: skip
        nested = b'{"attributes": ' + b"[" * 2_000 + b"]" * 2_000 + b"}"
        name = "zarr.json" if version == "05" else ".zattrs"
        yield Case("ome-zarr", f"{version}-metadata-nested", pack({**files, name: nested}))
