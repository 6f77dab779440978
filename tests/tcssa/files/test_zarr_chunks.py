"""Chunks whose headers claim more than they hold are not unpacked; sound ones are, all of them."""

import gzip
import json
import resource
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcssa.errors import FeatureFileError
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.zarr_chunks import Packing, Shards, require_known_order
from tcssa.files.zarr_store import open_array

zarr = pytest.importorskip("zarr")
numcodecs = pytest.importorskip("numcodecs")
NUMBERS = np.random.default_rng(0).integers(0, 9, (24, 16)).astype(np.int32)
CHUNK_BYTES = 4 * 6 * 16
COMPRESSORS: dict[str, Any] = {
    "blosc": numcodecs.Blosc(),
    "blosc of bytes as they are": numcodecs.Blosc(clevel=0),
    "zstd": numcodecs.Zstd(),
    "zstd with a checksum": numcodecs.Zstd(checksum=True),
    "gzip": numcodecs.GZip(),
    "zlib": numcodecs.Zlib(),
    "lz4": numcodecs.LZ4(),
    "nothing": None,
}


def written(folder: Path, compressor: str, **how: Any) -> Path:
    """An array of four chunks."""
    chosen = COMPRESSORS[compressor]
    zarr.create_array(
        folder, data=NUMBERS, chunks=(6, 16), zarr_format=2, compressors=chosen, **how
    )
    return folder


def read(folder: Path, **how: Any) -> Any:
    with reading(folder, FeatureFileError):
        return np.asarray(open_array(folder, FeatureFileError, extra="zarr", **how)[:])


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_what_is_sound_is_read(tmp_path: Path, compressor: str) -> None:
    assert np.array_equal(read(written(tmp_path / "a", compressor), complete=True), NUMBERS)
    filters = [numcodecs.Delta("<i4", "<i8"), numcodecs.Fletcher32()]
    assert np.array_equal(read(written(tmp_path / "b", compressor, filters=filters)), NUMBERS)


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_a_chunk_that_is_cut_is_named(tmp_path: Path, compressor: str) -> None:
    chunk = written(tmp_path / "a", compressor) / "1.0"
    whole = chunk.read_bytes()
    for length in (0, 1, 7, 15, 16, 17, len(whole) - 3, len(whole) - 1):
        chunk.write_bytes(whole[:length])
        with pytest.raises(FeatureFileError) as caught:
            read(tmp_path / "a")
        assert len(str(caught.value)) <= 300


@pytest.mark.parametrize("compressor", ["blosc", "zstd"])
def test_bytes_behind_a_chunk_are_named(tmp_path: Path, compressor: str) -> None:
    chunk = written(tmp_path / "a", compressor) / "1.0"
    chunk.write_bytes(chunk.read_bytes() + b"more")
    with pytest.raises(FeatureFileError):
        read(tmp_path / "a")


def blosc(content: bytes, *, claimed: int) -> bytes:
    packed = bytearray(numcodecs.Blosc().encode(content))
    struct.pack_into("<I", packed, 4, claimed)
    return bytes(packed)


def zstd(blocks: Sequence[tuple[int, bytes]], *, stated: int | None = None) -> bytes:
    """A frame of blocks that each repeat a byte; it states its size, or does not."""
    content = struct.pack("<IBB", 0xFD2FB528, 0 if stated is None else 0xC0, 0x58)
    content += b"" if stated is None else struct.pack("<Q", stated)
    for number, (length, byte) in enumerate(blocks, 1):
        head = length << 3 | 1 << 1 | (number == len(blocks))
        content += struct.pack("<I", head)[:3] + byte
    return content


FRAME = zstd([(CHUNK_BYTES, b"\1")])
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "blosc that claims": ("blosc", lambda: blosc(bytes(CHUNK_BYTES), claimed=2**31 - 17)),
    "zstd that claims": ("zstd", lambda: zstd([(CHUNK_BYTES, b"\1")], stated=2**40)),
    "zstd of many blocks": ("zstd", lambda: zstd([(2**17, b"\1")] * 16_000)),
    "zstd of many frames": ("zstd", lambda: FRAME + zstd([(2**17, b"\1")] * 16_000)),
    "lz4 that claims": ("lz4", lambda: struct.pack("<i", 2**31 - 1) + b"\x10a"),
    "gzip of two parts": ("gzip", lambda: gzip.compress(b"") + gzip.compress(bytes(5 * 10**8))),
    "zlib of zeros": ("zlib", lambda: zlib.compress(bytes(5 * 10**8))),
}


@pytest.fixture
def little_memory() -> Iterator[Callable[[], None]]:
    """Limits what this process may take from now on to 500 MB more than it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)

    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + 500 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_chunk_that_claims_gigabytes_is_not_unpacked(
    tmp_path: Path, bomb: str, little_memory: Callable[[], None]
) -> None:
    compressor, make = BOMBS[bomb]
    content = make()
    assert len(content) < 2**20
    (written(tmp_path / "a", compressor) / "1.0").write_bytes(content)
    little_memory()
    with pytest.raises(FeatureFileError, match=r"a chunk claims [\d,]+ bytes"):
        read(tmp_path / "a")


def test_a_frame_that_states_no_size_is_read(tmp_path: Path) -> None:
    folder = written(tmp_path / "a", "zstd")
    (folder / "1.0").write_bytes(FRAME)
    assert (read(folder)[6:12] == 0x01010101).all()
    half = zstd([(CHUNK_BYTES // 4, b"\1"), (CHUNK_BYTES // 4, b"\1")])
    (folder / "1.0").write_bytes(half + half)
    assert (read(folder)[6:12] == 0x01010101).all()


def sharded(folder: Path, location: str = "end") -> Path:
    zarr.create_array(
        folder,
        data=NUMBERS,
        chunks=(6, 16),
        shards={"shape": (12, 16), "index_location": location},
        compressors=zarr.codecs.BloscCodec(),
    )
    return folder


def test_inner_chunks_of_shards_are_looked_at(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "a")
    array = open_array(folder, FeatureFileError, extra="zarr", complete=True)
    assert np.array_equal(array[:], NUMBERS)
    assert np.array_equal(array[1:3], NUMBERS[1:3])
    shard = folder / "c/0/0"
    content = bytearray(shard.read_bytes())
    (length,) = struct.unpack_from("<I", content, 12)
    struct.pack_into("<I", content, 12, length + 9)
    shard.write_bytes(content)
    for rows in (slice(None), slice(1, 3)):
        with pytest.raises(FeatureFileError, match="cut short"), reading(folder, FeatureFileError):
            array[rows]
    assert np.array_equal(array[12:], NUMBERS[12:])


def test_shards_that_lack_inner_chunks_are_not_complete(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "a")
    changed = NUMBERS.copy()
    changed[6:12] = 0
    zarr.open_array(folder, mode="r+")[:] = changed
    assert np.array_equal(read(folder), changed)
    with pytest.raises(FeatureFileError, match="1 of 4 chunks are missing"):
        read(folder, complete=True)
    shard = folder / "c/0/0"
    shard.write_bytes(shard.read_bytes()[-20:])
    with pytest.raises(FeatureFileError, match="cut short"):
        read(folder, complete=True)


@pytest.mark.parametrize(
    "places",
    [[(0, 2**62), (8, 8)], [(2**63, 2**63), (0, 8)], [(2**64 - 2, 8), (0, 8)], [(0, 0), (0, 8)]],
)
def test_an_index_that_leads_out_of_its_shard_is_refused(places: list[tuple[int, int]]) -> None:
    shard = bytes(64) + np.array(places, "<u8").tobytes()
    packing = Packing(["bytes"], 64, Shards(2, has_checksum=False))
    with pytest.raises(UnsoundError, match="cut short"):
        packing.require_sound_file(memoryview(shard))


def test_an_index_in_front_is_refused(tmp_path: Path) -> None:
    """An entry of it can be a header of blosc that another entry names as a chunk at 0."""
    folder = sharded(tmp_path / "a", "start")
    with pytest.raises(FeatureFileError, match="in front, which is not read"):
        open_array(folder, FeatureFileError, extra="zarr")


def test_text_is_read_and_claims_no_more_than_is_stored(tmp_path: Path) -> None:
    texts = np.array([f"tile {number}" for number in range(10)], dtype=object)
    for number, compressors in enumerate((None, "auto")):
        folder = tmp_path / str(number)
        array = zarr.create_array(
            folder, shape=(10,), chunks=(10,), dtype="str", compressors=compressors
        )
        array[:] = texts
        assert read(folder).tolist() == texts.tolist()
        claim = struct.pack("<I", 2**31) + bytes(8)
        (folder / "c/0").write_bytes(claim if number == 0 else numcodecs.Zstd().encode(claim))
        with pytest.raises(FeatureFileError, match="claims 2,147,483,648 texts"):
            read(folder)


@pytest.mark.parametrize(
    ("codecs", "is_known"),
    [
        (["bytes", "zstd", "crc32c"], True),
        (["bytes", "crc32c", "zstd"], True),
        (["transpose", "bytes", "shuffle", "blosc"], True),
        (["vlen-utf8", "zstd"], True),
        (["bytes", "zstd", "gzip"], False),
        (["bytes", "zstd", "crc32c", "zstd"], False),
        (["vlen-utf8", "shuffle", "zstd"], False),
        (["bytes", "zstd", "shuffle"], False),
    ],
)
def test_a_header_stands_in_front(codecs: list[str], is_known: bool) -> None:
    if is_known:
        require_known_order(codecs)
    else:
        with pytest.raises(UnsoundError, match="where none is expected"):
            require_known_order(codecs)


def test_shards_within_shards_and_packed_indices_are_refused(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "a")
    metadata = folder / "zarr.json"
    content = json.loads(metadata.read_text())
    [codec] = content["codecs"]
    packer = {"name": "gzip", "configuration": {"level": 1}}
    packed = [*codec["configuration"]["index_codecs"], packer]
    for changes, reason in [
        ({"codecs": [codec]}, "'sharding_indexed', which is not run"),
        ({"index_codecs": packed}, "the index of its shards"),
    ]:
        changed = {**codec, "configuration": {**codec["configuration"], **changes}}
        metadata.write_text(json.dumps({**content, "codecs": [changed]}))
        with pytest.raises(FeatureFileError, match=reason):
            read(folder)
