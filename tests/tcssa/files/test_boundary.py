"""The boundary where a file enters: one error, which names the file."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from tcssa.errors import FeatureFileError, TableError
from tcssa.files.boundary import UnsoundError, reading, require_file


def test_what_a_library_raises_becomes_one_error_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s1.h5"
    path.write_bytes(b"no HDF5 at all")
    with (
        pytest.raises(FeatureFileError, match=r"s1\.h5: cannot be read") as caught,
        reading(path, FeatureFileError, hint="extract it again"),
    ):
        h5py.File(path)
    assert caught.value.path == path
    assert caught.value.hint == "extract it again"
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(
    ("fault", "hint", "step"),
    [
        (PermissionError(13, "Permission denied"), "extract it again", "check who may read it"),
        (FileNotFoundError(2, "No such file"), None, "check the path"),
        (FileNotFoundError(2, "No such file"), "train one", "train one"),
        (OSError(5, "Input/output error"), None, None),
    ],
)
def test_a_file_that_is_closed_or_missing_is_not_called_damaged(
    fault: OSError, hint: str | None, step: str | None
) -> None:
    with pytest.raises(TableError) as caught, reading("t.csv", TableError, hint=hint):
        raise fault
    assert caught.value.hint == step


def test_errors_of_ours_and_a_lack_of_memory_pass_as_they_are(tmp_path: Path) -> None:
    ours = TableError(tmp_path / "inner.csv", "lists no file")
    for error in (ours, MemoryError("8 GB"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, reading(tmp_path / "outer.h5", FeatureFileError):
            raise error
        assert caught.value is error


def nested_json() -> None:
    json.loads("[" * 200_000)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda: Path("/no/such/file").read_bytes(), "there is no such file"),
        (lambda: b"\xff\xfe".decode(), "is not text in UTF-8"),
        (lambda: Path("/").read_bytes(), "cannot be read (Is a directory)"),
        (lambda: next(iter(())), "cannot be read (StopIteration)"),
        (lambda: {}["name"], "cannot be read ('name')"),
        (nested_json, "is nested too deeply"),
    ],
)
def test_reasons_are_said_in_a_few_words(fault: Callable[[], object], reason: str) -> None:
    with pytest.raises(TableError) as caught, reading("t.csv", TableError):
        fault()
    assert str(caught.value) == f"t.csv: {reason}"


def test_a_guards_own_words_stay() -> None:
    with (
        pytest.raises(FeatureFileError, match=r"^s\.h5: its mass makes no sense$"),
        reading("s.h5", FeatureFileError),
    ):
        raise UnsoundError("its mass makes no sense")


def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"12345")
    assert require_file(path, TableError) == 5
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (
        ("", "is a folder, not a file"),
        ("pipe", "is no regular file"),
        ("none", "there is no such file"),
    ):
        with pytest.raises(TableError, match=reason):
            require_file(tmp_path / name, TableError)
