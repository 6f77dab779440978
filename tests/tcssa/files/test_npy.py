"""`.npy` files: NumPy's own reader is the oracle, and a header is not believed."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tcssa.errors import FeatureFileError
from tcssa.features import read_features
from tcssa.files.npy import read_npy

ARRAYS = [
    np.arange(12, dtype=np.float32).reshape(3, 4),
    np.asfortranarray(np.arange(12, dtype=np.float16).reshape(3, 4)),
    np.arange(12, dtype=">f8").reshape(1, 3, 4),
    np.arange(4, dtype=np.uint8),
    np.array(True),
    np.zeros((0, 4), np.float32),
]


def saved(content: Any, path: Path) -> Path:
    np.save(path, content, allow_pickle=True)
    return path


def with_header(path: Path, header: str, data: bytes = b"\0" * 48, version: int = 1) -> Path:
    width = 2 if version == 1 else 4
    begin = b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(width, "little")
    path.write_bytes(begin + header.encode() + data)
    return path


def refused(path: Path, match: str = "S.npy") -> None:
    with pytest.raises(FeatureFileError, match=match) as caught:
        read_npy(path, FeatureFileError)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_an_array_is_read_as_numpy_reads_it(
    tmp_path: Path, array: np.ndarray, version: tuple[int, int]
) -> None:
    content = io.BytesIO()
    np.lib.format.write_array(content, array, version)
    (tmp_path / "S.npy").write_bytes(content.getvalue())
    found, expected = read_npy(tmp_path / "S.npy", FeatureFileError), np.load(tmp_path / "S.npy")
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)
    assert found.flags.f_contiguous == expected.flags.f_contiguous


def test_features_of_another_byte_order_reach_torch(tmp_path: Path) -> None:
    features = np.arange(12, dtype=">f4").reshape(3, 4)
    found = read_features(saved(features, tmp_path / "S.npy"))
    assert torch.equal(torch.from_numpy(found), torch.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize(
    "header",
    [
        "{'shape': (3, 4), 'fortran_order': False, 'descr': '<f4'}",
        '{"descr": "<f4", "fortran_order": False, "shape": (3, 4), }',
        "{'descr':'<f4','fortran_order':False,'shape':(3L,4L,),}   \n",
    ],
)
def test_headers_of_other_writers_are_read(tmp_path: Path, header: str) -> None:
    assert read_npy(with_header(tmp_path / "S.npy", header), FeatureFileError).shape == (3, 4)


BAD_HEADERS = {
    "structured": "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (12,), }",
    "void": "{'descr': '|V4', 'fortran_order': False, 'shape': (12,), }",
    "text": "{'descr': '<U1', 'fortran_order': False, 'shape': (12,), }",
    "dates": "{'descr': '<M8', 'fortran_order': False, 'shape': (6,), }",
    "complex": "{'descr': '<c8', 'fortran_order': False, 'shape': (6,), }",
    "more than is there": "{'descr': '<f4', 'fortran_order': False, 'shape': (2000000000,), }",
    "less than is there": "{'descr': '<f4', 'fortran_order': False, 'shape': (11,), }",
    "a product that wraps": "{'descr':'|u1','fortran_order':False,'shape':(4294967296,4294967296)}",
    "beyond any array": "{'descr': '|u1','fortran_order':False,'shape':(99999999999999999999,0)}",
    "negative": "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -4), }",
    "no number": "{'descr': '<f4', 'fortran_order': False, 'shape': (3 4), }",
    "no tuple": "{'descr': '<f4', 'fortran_order': False, 'shape': 12, }",
    "many dimensions": "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }" % ("1," * 99),
    "one name twice": "{'descr': '<f4', 'descr': '<f4', 'shape': (3, 4), }",
    "swapped values": "{'descr': (3, 4), 'fortran_order': False, 'shape': '<f4', }",
    "a name of its own": "{'descr': '<f4', 'fortran_order': False, 'x': (3, 4), }",
    "code": "{'descr': '<f4', 'fortran_order': False, 'shape': (print(1),), }",
    "deep": "-" * 9_000,
    "braces": "{" * 9_000,
    "long": "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }" + " " * 20_000,
    "two kinds of quotes": """{'descr': '<f4", 'fortran_order': False, 'shape': (3, 4), }""",
    "empty": "",
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, header: str) -> None:
    refused(with_header(tmp_path / "S.npy", header))


def test_a_header_longer_than_the_file_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "S.npy").write_bytes(b"\x93NUMPY\x02\0" + b"\xff\xff\xff\xff" + b"{")
    refused(tmp_path / "S.npy", "header")


def test_what_is_no_file_or_no_array_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "missing.npy", "there is no such file")
    refused(tmp_path, "is a folder")
    os.mkfifo(tmp_path / "fifo.npy")
    refused(tmp_path / "fifo.npy", "is no regular file")
    for content in (b"", b"text", pickle.dumps({"feature": 1})):
        (tmp_path / "S.npy").write_bytes(content)
        refused(tmp_path / "S.npy", "is not a NumPy file; nothing in it was loaded")


def test_objects_are_plain_data_and_tensors_too(tmp_path: Path) -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    content = {"feature": tensor, "half": tensor.half(), "part": tensor[:, 1], "n": np.arange(2)}
    (found,) = read_npy(
        saved(np.array(content, dtype=object), tmp_path / "S.npy"), FeatureFileError
    )
    assert torch.equal(found["feature"], tensor)
    assert torch.equal(found["half"], tensor.half())
    assert torch.equal(found["part"], tensor[:, 1])
    assert np.array_equal(found["n"], [0, 1])


def test_a_torch_file_within_a_torch_file_is_refused(tmp_path: Path) -> None:
    class Nested:
        def __reduce__(self) -> tuple[object, tuple[bytes]]:
            stream = io.BytesIO()
            torch.save(torch.ones(1), stream, _use_new_zipfile_serialization=False)
            inner = stream.getvalue().replace(b"ctorch\nFloatStorage\n", INNER)
            return torch.storage._load_from_bytes, (inner,)

    INNER = b"ctorch.storage\n_load_from_bytes\n"
    path = saved(np.array({"feature": Nested()}, dtype=object), tmp_path / "S.npy")
    refused(path, r"more than data \(torch.storage._load_from_bytes\)")


def small(kind: str, path: Path) -> bytes:
    features = np.arange(3, dtype=np.float32).reshape(1, 3)
    if kind == "objects":
        features = np.array({"feature": features}, dtype=object)
    return saved(features, path).read_bytes()


@pytest.mark.parametrize("kind", ["numbers", "objects"])
def test_a_file_that_is_cut_short_or_goes_on_is_one_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "S.npy"
    content = small(kind, path)
    for damaged in (*(content[:end] for end in range(len(content))), content + b"\0"):
        path.write_bytes(damaged)
        refused(path)


@pytest.mark.parametrize("kind", ["numbers", "objects"])
def test_a_flipped_bit_gives_an_error_or_an_array_of_all_bytes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "S.npy"
    content = small(kind, path)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = read_npy(path, FeatureFileError)
        except FeatureFileError:
            continue
        if kind == "numbers":
            assert found.tobytes() == damaged[-12:]
            expected = np.load(path, allow_pickle=False)
            assert np.array_equal(found.view(np.uint8), expected.view(np.uint8))
