"""Object stores by fsspec's file system in memory; `test_s3_outputs` has a real server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tcssa.errors import DiskFullError, FileError, UploadError, UsageError
from tcssa.files import atomic, object_store
from tcssa.files.forwarding import is_placeholder, remove
from tcssa.files.hdf5 import hdf5_file
from tcssa.files.output_folder import Forwarded, output_folder, seen_folder
from tcssa.reporter import Silent

ADDRESS = "memory://bucket/job"


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(object_store, "_WAITS_S", (0.0, 0.0))
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


@pytest.fixture
def puts(memory: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the objects that are put, in their order."""
    return _watched(memory, monkeypatch, lambda name, number: None)


def _watched(
    memory: Any, monkeypatch: pytest.MonkeyPatch, before: Callable[[str, int], None]
) -> list[str]:
    """Call a function before each put, with the object's name and how many came before it."""
    names: list[str] = []
    put = type(memory).put_file

    def put_file(self: Any, lpath: str, rpath: str, **how: Any) -> None:
        names.append(rpath.rpartition("/")[2])
        before(names[-1], len(names))
        put(self, lpath, rpath, **how)

    monkeypatch.setattr(type(memory), "put_file", put_file)
    return names


def test_tables_go_up_after_the_slides_files(memory: Any, puts: list[str], tmp_path: Path) -> None:
    with output_folder(Path(ADDRESS), Silent()) as job:  # a path loses a slash
        atomic.write_text(job / "index.csv", "one\n")
        atomic.write_text(job / "job.json", "{}")
        atomic.write_bytes(job / "features" / "S.h5", b"features")
        atomic.write_text(job / "index.csv", "two\n")
        assert memory.cat("/bucket/job/features/S.h5") == b"features"
        assert not memory.exists("/bucket/job/index.csv")
        assert (job / "index.csv").read_text() == "two\n"
    assert puts == ["job.json", "S.h5", "index.csv"]
    assert memory.cat("/bucket/job/index.csv") == b"two\n"
    assert list((tmp_path / "cache" / "outputs").iterdir()) == []


def test_another_call_sees_what_stands_and_removes_only_what_it_means_to(
    memory: Any, puts: list[str]
) -> None:
    for name in ("index.csv", "failures.csv", "a/S.h5", "a/T.h5", "../out", "a//b", "/c"):
        memory.pipe(f"/bucket/job/{name}", b"0123456789")
    with output_folder(ADDRESS, Silent()) as job:
        files = [path for path in job.rglob("*") if path.is_file()]
        assert sorted(path.name for path in files) == ["S.h5", "T.h5", "failures.csv", "index.csv"]
        assert is_placeholder(job / "a" / "S.h5")
        assert (job / "a" / "S.h5").stat().st_size == 10
        assert (job / "failures.csv").read_text() == "0123456789"
        atomic.write_text(job / "failures.csv", "S\n")
        remove(job / "failures.csv")
        remove(job / "none.csv")
        (job / "a" / "S.h5").unlink()  # as where scratch is purged
    assert not memory.exists("/bucket/job/failures.csv")
    assert memory.exists("/bucket/job/a/S.h5")
    assert memory.exists("/bucket/job/a/T.h5")
    assert puts == []


def test_tables_that_are_gone_when_they_are_to_go_up_are_named(memory: Any) -> None:
    def purge() -> None:
        with output_folder(ADDRESS, Silent()) as job:
            atomic.write_text(job / "new.csv", "one\n")
            remove(job / "new.csv")  # it never went up
            atomic.write_text(job / "index.csv", "one\n")
            (job / "index.csv").unlink()

    with pytest.raises(UploadError, match=r"index.csv: cannot be stored"):
        purge()


def test_an_upload_is_tried_three_times(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, number: int) -> None:
        if name == "bad.h5" or number < 3:
            raise ConnectionResetError(f"reset at {ADDRESS}/{name}?signature=secret")

    names = _watched(memory, monkeypatch, fail)
    with output_folder(ADDRESS, Silent()) as job:
        atomic.write_bytes(job / "S.h5", b"features")
        assert names == ["S.h5"] * 3
        names.clear()
        with pytest.raises(UploadError, match=r"bad.h5: cannot be stored \(Conn.* reset") as told:
            atomic.write_bytes(job / "bad.h5", b"features")
        assert names == ["bad.h5"] * 3
    assert "secret" not in str(told.value)
    assert told.value.hint is not None
    assert [name for name in memory.store if name.endswith(".h5")] == ["/bucket/job/S.h5"]


def test_what_is_not_allowed_is_not_tried_again(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(name: str, number: int) -> None:
        raise PermissionError("Access Denied")

    names = _watched(memory, monkeypatch, deny)
    with output_folder(ADDRESS, Silent()) as job, pytest.raises(UploadError, match="Access Denied"):
        atomic.write_bytes(job / "S.h5", b"features")
    assert names == ["S.h5"]


def test_tables_go_up_where_the_command_fails_too(memory: Any, puts: list[str]) -> None:
    def fail(error: Exception) -> None:
        with output_folder(ADDRESS, Silent()) as job:
            atomic.write_text(job / "failures.csv", "S\n")
            raise error

    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError())
    assert puts == ["failures.csv"]
    with pytest.raises(DiskFullError) as told:
        fail(DiskFullError("S.h5"))
    assert "outputs" in str(told.value)  # the disk of the scratch folder is full, not the bucket


def test_another_process_puts_files_in_the_same_place(memory: Any) -> None:
    with output_folder(ADDRESS, Silent()) as job:
        how = Forwarded.like(job)
    assert Forwarded.like(job) == Forwarded(job, None)
    with how.here():
        atomic.write_bytes(job / "S.h5", b"features")
    assert memory.cat("/bucket/job/S.h5") == b"features"


def test_a_damaged_object_is_an_error_of_its_file(memory: Any) -> None:
    memory.pipe("/bucket/job/S.h5", b"no HDF5 at all")
    with (
        seen_folder(Path(ADDRESS)) as job,
        pytest.raises(FileError, match="is not a readable HDF5 file"),
        hdf5_file(job / "S.h5", FileError),
    ):
        pass


def test_addresses_that_are_no_folder_of_an_object_store_are_refused(memory: Any) -> None:
    with (
        pytest.raises(UsageError, match="not to sftp://"),
        output_folder("sftp://host/job", Silent()),
    ):
        pass
    memory.pipe("/bucket/S.h5", b"")
    with (
        pytest.raises(UsageError, match="is an object, not a folder"),
        output_folder("memory://bucket/S.h5", Silent()),
    ):
        pass


def test_a_folder_of_this_machine_is_yielded_as_it_is(tmp_path: Path) -> None:
    with output_folder(tmp_path / "job", Silent()) as job, seen_folder(job) as seen:
        assert (job, seen) == (tmp_path / "job", tmp_path / "job")
