"""HDF5 files give out their own, written data; everything else is one error that names the file."""

import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fuzz.mutations.lookup3 import lookup3
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


def test_soft_links_are_followed_within_the_file(tmp_path: Path) -> None:
    def linked(file: h5py.File) -> None:
        file["group/data"] = values()
        file["group/near"] = h5py.SoftLink("data")
        file["features"] = h5py.SoftLink("/group/near")

    assert np.array_equal(read_features(make(tmp_path / "S.h5", linked)), values())

    def circle(file: h5py.File) -> None:
        file["features"] = h5py.SoftLink("/there")
        file["there"] = h5py.SoftLink("/features")

    refused(make(tmp_path / "T.h5", circle), "a link")
    nowhere = h5py.SoftLink("/nowhere")
    refused(make(tmp_path / "U.h5", lambda file: file.update(features=nowhere)), "leads nowhere")

    def outside(file: h5py.File) -> None:
        file["features"] = h5py.SoftLink("/away/x")
        file["away"] = h5py.ExternalLink("other.h5", "/")

    refused(make(tmp_path / "V.h5", outside), "a link to another place")


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
        (np.zeros(6, np.int64), r"of shape \[6\], expected \[N, 2\]"),
        (np.zeros((6, 2, 2), np.int64), r"of shape \[6, 2, 2\], expected \[N, 2\]"),
        (np.array(b"x"), "must be integers or unsigned integers"),
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


def read_elsewhere(path: Path) -> str:
    """Read a bag in a process of its own, which may hang or crash.

    Returns:
        Why the file was refused.
    """
    code = (
        "import sys\nfrom tcssa.errors import FeatureFileError\n"
        "from tcssa.features import open_bag\n"
        "try:\n    with open_bag(sys.argv[1]) as bag:\n        bag.read()\n"
        "except FeatureFileError as error:\n    print(error.reason)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=30
    )
    assert run.returncode == 0, run.stderr[-500:]
    return run.stdout


def with_text(file: h5py.File) -> None:
    file["features"] = values()
    file["features"].attrs["encoder"] = "uni"


def replaced(path: Path, place: int, number: int, width: int = 8) -> bytearray:
    content = bytearray(path.read_bytes())
    content[place : place + width] = number.to_bytes(width, "little")
    path.write_bytes(content)
    return content


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_a_damaged_heap_of_texts_is_not_walked(tmp_path: Path, libver: str) -> None:
    """The free space behind the texts claims another size: HDF5 goes on for ever."""
    path = tmp_path / "S.h5"
    with h5py.File(path, "w", libver=libver) as file:
        with_text(file)
    heap = path.read_bytes().index(b"GCOL")
    free = heap + 16 + 16 + 8 + 8  # behind the head, one object of 3 bytes, and its own head
    replaced(path, free, 255)
    assert "a heap of texts is damaged" in read_elsewhere(path)


@pytest.mark.parametrize("of_character", [False, True])
def test_a_text_that_claims_more_than_the_file_takes_no_memory(
    tmp_path: Path, of_character: bool
) -> None:
    """HDF5 takes as much as the attribute says, before it looks at the heap."""
    path = tmp_path / "S.h5"
    with h5py.File(path, "w") as file:
        with_text(file)
    content = path.read_bytes()
    name = content.index(b"encoder\0")
    # a type of 8 and 12 bytes for the texts and their characters, a dataspace of 8, the length
    place, before = (name + 8 + 12, 1) if of_character else (name + 8 + 24 + 8, 3)
    assert int.from_bytes(content[place : place + 4], "little") == before
    replaced(path, place, 2**31, 4)
    assert "an attribute claims a text of" in read_elsewhere(path)


def test_a_text_whose_type_stands_elsewhere_is_not_read(tmp_path: Path) -> None:
    """Nor are attributes apart from their object: what they claim cannot be looked at first."""

    def typed(file: h5py.File) -> None:
        file["features"] = values()
        file["text"] = h5py.string_dtype()
        file["features"].attrs.create("encoder", "uni", dtype=file["text"])

    refused(make(tmp_path / "S.h5", typed), "type stands elsewhere")
    with h5py.File(tmp_path / "D.h5", "w", libver="latest") as file:
        file["features"] = values()
        for number in range(9):
            file["features"].attrs[f"note {number}"] = "x"
    refused(tmp_path / "D.h5", "attributes that stand apart from their object")


def test_headers_that_grew_bit_by_bit_and_blocks_to_come_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "S.h5", "w") as file:
        file["features"] = values()
        for number in range(200):
            file["features"].attrs[f"note {number}"] = number
            file[f"other {number}"] = [number]  # takes the place behind the header
    assert np.array_equal(read_features(tmp_path / "S.h5"), values())
    with h5py.File(tmp_path / "E.h5", "w", libver="latest") as file:
        file.create_dataset("features", (0, 4), np.float32, maxshape=(None, 4), chunks=(1, 4))
    with open_bag(tmp_path / "E.h5") as bag:
        assert bag.num_patches == 0


@pytest.mark.parametrize("damage", ["length", "gaps"])
def test_the_names_of_a_group_are_looked_at_first(tmp_path: Path, damage: str) -> None:
    """HDF5 takes as much memory as they claim; and notes each gap of a list without end."""
    path = tmp_path / "S.h5"
    with h5py.File(path, "w") as file:
        with_text(file)
    heap = path.read_bytes().index(b"HEAP")
    gap = int.from_bytes(path.read_bytes()[heap + 16 : heap + 24], "little")
    if damage == "length":
        replaced(path, heap + 8, 2**33)
    else:
        replaced(path, heap + 32 + gap, gap)  # the next one is itself
    assert "the names of a group are damaged" in read_elsewhere(path)


@pytest.mark.parametrize(
    ("signature", "place", "maxshape"), [(b"EAHD", 44, (None, 4)), (b"FAHD", 8, None)]
)
def test_a_damaged_index_of_blocks_is_not_walked(
    tmp_path: Path, signature: bytes, place: int, maxshape: tuple[None, int] | None
) -> None:
    path = tmp_path / "S.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("features", data=values(40), chunks=(2, 4), maxshape=maxshape)
    assert np.array_equal(read_features(path), values(40))
    begin = path.read_bytes().index(signature)
    content = replaced(path, begin + place, 1 << 36)
    end = begin + {b"EAHD": 68, b"FAHD": 24}[signature]
    replaced(path, end, lookup3(bytes(content[begin:end])), 4)  # else HDF5 sees the damage itself
    assert "an index of blocks is damaged" in read_elsewhere(path)


@pytest.mark.parametrize(
    ("options", "stored", "reason"),
    [
        ({"fletcher32": True}, b"ab", "its checksum is another one"),
        ({"fletcher32": True}, bytes(4), "of another length"),
        ({"shuffle": True}, b"too short", "of another length"),
        ({"compression": "gzip", "fletcher32": True}, b"abcd", "its checksum is another one"),
        ({"compression": "gzip"}, zlib.compress(b"too short"), "of another length"),
        ({"compression": "lzf"}, b"\x03abcd", "of another length"),
        ({}, b"too short", "a block of rows is of another length"),
    ],
)
def test_a_block_of_another_length_is_refused(
    tmp_path: Path, options: dict[str, Any], stored: bytes, reason: str
) -> None:
    """HDF5 gives whatever lay in memory; of two bytes and a checksum it ends the process."""
    path = tmp_path / "S.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("features", data=values(), chunks=(3, 4), **options)
        if stored and options:
            dataset.id.write_direct_chunk((0, 0), stored)
    if not options:  # HDF5 does not write such a block: its length in the tree is replaced
        key = (48).to_bytes(4, "little") + bytes(4) + bytes(24)
        replaced(path, path.read_bytes().index(key), len(stored), 4)
    assert reason in read_elsewhere(path)


def test_blocks_that_went_through_a_filter_which_trusts_them_are_refused(tmp_path: Path) -> None:
    path = make(
        tmp_path / "S.h5",
        lambda file: file.create_dataset("features", data=values(), chunks=(3, 4), scaleoffset=4),
    )
    refused(path, "the filter 6, which is not read")


def test_attributes_of_other_types_are_not_read(tmp_path: Path) -> None:
    """Of a damaged type of variable length h5py ends the process."""

    def fill(file: h5py.File) -> None:
        with_text(file)
        file["features"].attrs["parts"] = np.zeros(2, [("x", "f4")])

    with open_bag(make(tmp_path / "S.h5", fill)) as bag:
        assert bag.encoder == "uni"
        assert "parts" not in bag.attributes
    path = make(tmp_path / "T.h5", with_text)
    content = path.read_bytes()
    text_type = bytes([0x19, 0x01, 0x01, 0, 16, 0, 0, 0])  # of variable length, text, UTF-8
    path.write_bytes(content.replace(text_type, bytes([0x19, 0x02]) + text_type[2:]))
    assert "'encoder' is of a type that is not read" in read_elsewhere(path)


def test_deflate_without_its_setting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "S.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=values(), chunks=(3, 4), compression="gzip")
    content = path.read_bytes()
    setting = b"deflate\0" + (4).to_bytes(4, "little")
    assert content.count(setting) == 1
    begin = content.index(setting) - 8  # the filter's number, the length of its name, flags, values
    assert content[begin : begin + 8] == bytes([1, 0, 8, 0, 1, 0, 1, 0])
    path.write_bytes(content[: begin + 6] + bytes(2) + content[begin + 8 :])
    refused(path, "the filter 1, which is not read")
