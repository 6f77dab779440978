"""Files that torch saved: `torch.load` is the oracle, and never reads what we are given."""

import argparse
import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tcssa.errors import CheckpointError
from tcssa.files.torch_file import read_torch_file

FORMS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])


KINDS = (
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
    *(torch.float16, torch.float32, torch.float64, torch.bfloat16),
)


def saved(content: Any, path: Path, is_zip: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    return path


def read(path: Path) -> Any:
    return read_torch_file(path, CheckpointError)


def refused(path: Path, match: str = "") -> None:
    with pytest.raises(CheckpointError, match=match or path.name) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, Tensor):
        assert type(found) is Tensor
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert torch.equal(found, expected.detach())
        assert not found.requires_grad
        assert found.device.type == "cpu"
    elif isinstance(expected, dict):
        assert type(found) is type(expected)
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected
        assert type(found) is type(expected)


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.randn(5, 3)).sum().backward()
    optimiser.step()
    return model, optimiser


def contents() -> dict[str, Any]:
    model, optimiser = trained()
    base = torch.arange(24.0).reshape(4, 6)
    noted = torch.ones(3)
    noted.note = "x"  # type: ignore[attr-defined]
    return {
        "state dict": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "parameter": {"weight": nn.Parameter(torch.ones(2))},
        "gradient": torch.ones(2, requires_grad=True),
        "views": [base, base[1:3], base.T, base[:, ::2], base[0], base[3, 5]],
        "no dimension": torch.tensor(3.0),
        "empty": [torch.empty(0), torch.empty(0, 5), torch.empty(2, 0, 3)],
        "types": [torch.tensor([0, 1]).to(kind) for kind in KINDS],
        "expanded": torch.ones(1).expand(5),
        "plain": {"a": [1, 2.5, None, True, "ü", b"xy", b"", (1, 2)], 3: "i", "big": 2**70},
        "ordered": OrderedDict(a=1),
        "shape": torch.Size([2, 3]),
        "dtype": torch.float32,
        "attributes": noted,
    }


@FORMS
@pytest.mark.parametrize("name", contents())
def test_data_is_read_as_torch_reads_it(tmp_path: Path, name: str, is_zip: bool) -> None:
    path = saved(contents()[name], tmp_path / "w.pt", is_zip)
    assert_same(read(path), torch.load(path, weights_only=False))


def test_unsigned_numbers_of_more_bytes_are_read(tmp_path: Path) -> None:
    kinds = (torch.uint16, torch.uint32, torch.uint64)
    path = saved([torch.arange(3).to(kind) for kind in kinds], tmp_path / "w.pt", is_zip=True)
    assert_same(read(path), torch.load(path, weights_only=True))


@FORMS
def test_what_torch_takes_for_data_beside_features_is_no_obstacle(
    tmp_path: Path, is_zip: bool
) -> None:
    content = {"features": torch.ones(3, 4), ("level", 0): [1, 2], "shift": complex(1, -2)}
    path = saved(content, tmp_path / "w.pt", is_zip)
    assert_same(read(path), torch.load(path, weights_only=True))


@FORMS
def test_arrays_paths_and_namespaces_beside_tensors_are_data(tmp_path: Path, is_zip: bool) -> None:
    arguments = argparse.Namespace(
        lr=np.float64(0.5), out=Path("a/b"), device=torch.device("cuda:1")
    )
    content = {"args": arguments, "array": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    found = read(saved(content, tmp_path / "w.pt", is_zip))
    assert found["args"] == {"lr": 0.5, "out": "a/b", "device": "cuda:1"}
    assert np.array_equal(found["array"], content["array"])


def test_a_file_of_another_byte_order_is_read(tmp_path: Path) -> None:
    content = [torch.arange(5.0), torch.arange(3, dtype=torch.int16), torch.ones(2).bool()]
    path = saved(content, tmp_path / "w.pt", is_zip=True)
    swapped = tmp_path / "swapped.pt"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(swapped, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            for key, width in enumerate((4, 2, 1)):
                if name.endswith(f"data/{key}"):
                    data = np.frombuffer(data, f"u{width}").byteswap().tobytes()
            target.writestr(name, b"big" if name.endswith("byteorder") else data)
    assert_same(read(swapped), content)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


@FORMS
@pytest.mark.parametrize(
    "content",
    [
        Hostile(),
        {"weight": torch.ones(2), "more": Hostile()},
        nn.Linear(2, 2),
        torch.ones(2).to_sparse(),
        torch.ones(2, device="meta"),
        {1, 2},
    ],
    ids=["call", "call beside data", "module", "sparse", "meta", "set"],
)
def test_more_than_data_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, is_zip: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(content, tmp_path / "w.pt", is_zip)
    refused(path, r"holds more than data \(.+\) and was not loaded; nothing in it was run")
    assert list(tmp_path.iterdir()) == [path]


def test_unusual_numbers_and_bare_storages_are_refused(tmp_path: Path) -> None:
    for content in (torch.ones(2, dtype=torch.complex64), torch.ones(2).untyped_storage()):
        refused(saved(content, tmp_path / "w.pt", is_zip=True))


def rewritten(path: Path, changed: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """The same archive, with true checksums, and other content."""
    with zipfile.ZipFile(path) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    root = next(iter(entries)).partition("/")[0]
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, data in (entries | {f"{root}/{k}": v for k, v in changed.items()}).items():
            target.writestr(name, data)
    return path


def pickle_of(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """The pickle of a tensor of so many floats, of a storage of four."""

    class Rebuilt:
        def __reduce__(self) -> tuple[object, tuple[Any, ...]]:
            arguments = (Storage(), offset, size, stride, False, OrderedDict())
            return torch._utils._rebuild_tensor_v2, arguments

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, Storage):
                return "storage", torch.FloatStorage, "0", "cpu", 4
            return None

    stream = io.BytesIO()
    Pickler(stream, 2).dump(Rebuilt())
    return stream.getvalue()


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((5,), (1,), 0),
        ((4,), (1,), 1),
        ((2, 2), (3, 2), 0),
        ((4,), (-1,), 3),
        ((-1,), (1,), 0),
        ((2,), (1,), -1),
        ((2,), (1, 1), 0),
        ((2**62, 2**62), (0, 0), 0),
        ((2**40,), (0,), 0),
        ((2,), (2**62,), 0),
        ((2**70, 0), (0, 1), 0),
        ((True,), (1,), 0),
        ((1,) * 40, (1,) * 40, 0),
    ],
)
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(
    tmp_path: Path, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    path = saved(torch.arange(4.0), tmp_path / "w.pt", is_zip=True)
    refused(rewritten(path, {"data.pkl": pickle_of(size, stride, offset)}))


def test_the_pickles_of_these_tests_are_sound_but_for_their_fault(tmp_path: Path) -> None:
    path = saved(torch.arange(4.0), tmp_path / "w.pt", is_zip=True)
    rewritten(path, {"data.pkl": pickle_of((2, 2), (2, 1))})
    assert torch.equal(read(path), torch.arange(4.0).reshape(2, 2))


@pytest.mark.parametrize(
    "changed",
    [
        {"data/0": b"\0" * 12},
        {"data/0": b"\0" * 20},
        {"byteorder": b"middle"},
        {"data.pkl": b""},
        {"data.pkl": pickle.dumps(1) + b"."},
    ],
)
def test_an_entry_that_does_not_fit_is_refused(tmp_path: Path, changed: dict[str, bytes]) -> None:
    path = saved(torch.arange(4.0), tmp_path / "w.pt", is_zip=True)
    if "." in next(iter(changed)) and changed["data.pkl"]:
        assert read(rewritten(path, changed)) == 1  # what follows a pickle is nobody's
    else:
        refused(rewritten(path, changed))


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    path = saved(torch.zeros(100_000), tmp_path / "w.pt", is_zip=True)
    refused(rewritten(path, {}, zipfile.ZIP_DEFLATED), "compressed")


def test_a_truth_value_is_0_or_1(tmp_path: Path) -> None:
    path = saved(torch.ones(4, dtype=torch.bool), tmp_path / "w.pt", is_zip=True)
    refused(rewritten(path, {"data/0": b"\1\2\0\1"}), "truth value")


@FORMS
def test_bytes_are_not_taken_for_truth_values(
    tmp_path: Path, is_zip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the legacy form they are read after the pickle: a check while it is read sees others."""

    def reduce(tensor: Tensor, _: int) -> tuple[object, tuple[Any, ...]]:
        place = (0, (4,), (1,), False, OrderedDict())
        storage = tensor._typed_storage()
        return torch._utils._rebuild_tensor_v3, (storage, *place, torch.bool)

    monkeypatch.setattr(Tensor, "__reduce_ex__", reduce)
    content = torch.tensor([1, 0, 7, 255], dtype=torch.uint8)
    refused(saved(content, tmp_path / "w.pt", is_zip), "storage is damaged")


def test_what_is_no_torch_file_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "missing.pt", "there is no such file")
    refused(tmp_path, "is a folder")
    os.mkfifo(tmp_path / "fifo.pt")
    refused(tmp_path / "fifo.pt", "is no regular file")
    path = tmp_path / "w.pt"
    for content in (b"", b"u", b"text", b"PK\3\4", pickle.dumps({"weight": 1})):
        path.write_bytes(content)
        refused(path, "not a")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other/file", b"")
    refused(path, r"not a torch file: no data\.pkl")


def small(path: Path, is_zip: bool) -> bytes:
    content = {"weight": torch.arange(4.0), "bias": torch.ones(2).bool(), "step": 3}
    return saved(content, path, is_zip).read_bytes()


@FORMS
def test_a_file_that_is_cut_short_is_one_error(tmp_path: Path, is_zip: bool) -> None:
    path = tmp_path / "w.pt"
    content = small(path, is_zip)
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        refused(path)


@FORMS
@pytest.mark.filterwarnings("ignore")  # the oracle's remarks on protocols that flips make
def test_a_flipped_bit_gives_an_error_or_what_torch_reads(tmp_path: Path, is_zip: bool) -> None:
    path = tmp_path / "w.pt"
    content = small(path, is_zip)
    num_read = 0
    for place in range(0, len(content), 3 if is_zip else 1):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = read(path)
        except CheckpointError:
            continue
        num_read += 1
        if is_zip:  # entries have checksums: what is read is what was written
            assert_same(found["weight"], torch.arange(4.0))
            assert_same(found["bias"], torch.ones(2).bool())
        else:
            assert_same(found, torch.load(path, map_location="cpu", weights_only=True))
    assert num_read > 50
