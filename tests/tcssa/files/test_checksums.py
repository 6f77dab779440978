"""Hashes that identify what something was made from."""

import string
from collections.abc import Callable
from pathlib import Path

import pytest

from tcssa.files.checksums import file_sha256, fingerprint, params_hash

LARGE = 200_000


def test_a_files_hash_is_sha_256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # the example of FIPS 180
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_order_of_parameters_does_not_matter_and_each_value_does() -> None:
    first = params_hash({"mpp": 0.5, "mask": None, "inner": {"a": 1, "b": 2}})
    assert params_hash({"inner": {"b": 2, "a": 1}, "mask": None, "mpp": 0.5}) == first
    others = [
        {"mpp": 0.25, "mask": None, "inner": {"a": 1, "b": 2}},
        {"mpp": 0.5, "mask": "m.png", "inner": {"a": 1, "b": 2}},
        {"mpp": 0.5, "mask": None, "inner": {"a": 1, "b": 3}},
        {"mpp": 0.5, "inner": {"a": 1, "b": 2}},
    ]
    assert len({first, *map(params_hash, others)}) == 5
    assert len(first) == 16
    assert set(first) <= set(string.hexdigits)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"x" + content[1:],
        lambda content: content[:-1] + b"x",
        lambda content: content[: LARGE // 2] + content[LARGE // 2 + 1 :],
    ],
    ids=["beginning", "end", "size"],
)
def test_a_fingerprint_tells_another_beginning_end_or_size(
    change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path, other = tmp_path / "slide.svs", tmp_path / "other" / "slide.svs"
    path.write_bytes(bytes(LARGE))
    other.parent.mkdir()
    other.write_bytes(bytes(LARGE))
    assert fingerprint(other) == fingerprint(path)
    other.write_bytes(change(bytes(LARGE)))
    assert fingerprint(other) != fingerprint(path)


def test_small_files_are_hashed_whole(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    found = set()
    for place in range(20):
        path.write_bytes(bytes(place) + b"x" + bytes(19 - place))
        found.add(fingerprint(path))
    assert len(found) == 20


def test_a_folder_is_known_by_the_names_and_sizes_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "dicom"
    folder.mkdir()
    (folder / "1.dcm").write_bytes(bytes(5))
    before = fingerprint(folder)
    (folder / "1.dcm").write_bytes(bytes(6))
    longer = fingerprint(folder)
    (folder / "1.dcm").rename(folder / "2.dcm")
    assert len({before, longer, fingerprint(folder)}) == 3
    assert fingerprint(tmp_path / "none") is None
