"""safetensors files, with headers that their library does not look through."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tcssa.compressor.checkpoint import read_tensors, write_tensors
from tcssa.errors import CheckpointError
from tcssa.files.tensors import read_safetensors


def with_header(path: Path, header: dict[str, Any], data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def refused(path: Path, match: str = "") -> None:
    with pytest.raises(CheckpointError, match=match or path.name) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_tensors_and_facts_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2).bfloat16(), "c": torch.empty(0)}
    write_tensors(tmp_path / "w.safetensors", tensors, {"n": [1, {"x": None}]})
    found, facts = read_tensors(tmp_path / "w.safetensors")
    assert facts == {"n": [1, {"x": None}]}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], value) for name, value in tensors.items())


def test_a_file_of_others_has_no_facts(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "w.safetensors", {"format": "pt"})
    assert read_safetensors(tmp_path / "w.safetensors", CheckpointError)[1] == {"format": "pt"}
    assert read_tensors(tmp_path / "w.safetensors")[1] == {}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ("null", "must hold an object"),
        ("[1]", "must hold an object"),
        ("[" * 50_000, "nested too deeply"),
        ('{"a": ' * 100 + "1" + "}" * 100, "levels of nesting"),
        ("{", "is not valid JSON"),
        ('{"a": 1, "a": 2}', "stands twice"),
    ],
)
def test_facts_that_are_no_facts_are_refused(tmp_path: Path, facts: str, reason: str) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "w.safetensors", {"tcssa": facts})
    refused(tmp_path / "w.safetensors", reason)


F32 = {"dtype": "F32", "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "entry",
    [
        {**F32, "shape": [2]},
        {**F32, "shape": [-1]},
        {**F32, "shape": [1.0]},
        {**F32, "shape": [2**63, 0], "data_offsets": [0, 0]},
        {**F32, "shape": [2**62, 2**62]},
        {**F32, "shape": [1], "data_offsets": [4, 8]},
        {**F32, "shape": [2**30], "data_offsets": [0, 2**32]},
        {**F32, "shape": [1], "dtype": "F33"},
        {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]},
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, entry: dict[str, Any]) -> None:
    refused(with_header(tmp_path / "w.safetensors", {"x": entry}, b"\0" * 4))


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "missing.safetensors", "there is no such file")
    refused(tmp_path, "is a folder")
    os.mkfifo(tmp_path / "fifo.safetensors")
    refused(tmp_path / "fifo.safetensors", "is no regular file")


def test_a_file_that_is_cut_short_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_tensors(path, {"a": torch.arange(3.0)}, {"n": 1})
    content = path.read_bytes()
    for end in range(len(content)):
        path.write_bytes(content[:end])
        refused(path)


def test_a_flipped_bit_gives_an_error_or_a_tensor_of_all_bytes(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_tensors(path, {"a": torch.arange(3.0)}, {"n": 1})
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            tensors, _ = read_tensors(path)
        except CheckpointError:
            continue
        (found,) = tensors.values()
        assert found.view(torch.uint8).numpy().tobytes() == damaged[-12:]
