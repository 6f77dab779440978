"""Features behind addresses: copied once, whole, and brought up to date."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from tcssa.errors import DiskFullError, FeatureFileError, MissingDataError
from tcssa.features import find_bags
from tcssa.features.remote_features import is_features_address, local_features
from tcssa.files import remote_file
from tcssa.files.host_locks import locked
from tcssa.reporter import Silent


class Notes(Silent):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []
        self.came = threading.Event()

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.came.set()


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path / "cache"))
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def put(files: Any, name: str) -> None:
    with files.open(f"/bucket/{name}", "wb") as stream:
        np.save(stream, np.zeros((3, 4), np.float32))


def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are fetched from now on."""
    names: list[str] = []
    original = remote_file.fetch

    def fetch(files: Any, inner: str, *rest: Any) -> None:
        names.append(inner.rpartition("/")[2])
        original(files, inner, *rest)

    monkeypatch.setattr("tcssa.features.remote_features.fetch", fetch)
    return names


@pytest.mark.parametrize(
    ("address", "features"),
    [("s3://b/job", True), ("s3://b/job/S.h5", True), ("s3://b/job::uni", True),
     ("s3://b/S.svs", False), ("https://h/S.h5", True), ("https://h/open?id=5", False)],
)  # fmt: skip
def test_features_are_told_from_slides(address: str, features: bool) -> None:
    assert is_features_address(address) is features


def test_a_path_stays_as_it_is(tmp_path: Path) -> None:
    for path in (tmp_path, Path("job::uni"), Path("job/*.h5")):
        assert local_features(path, Silent()) == path


def test_only_what_changed_is_fetched_again(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("job/a.npy", "job/sub/b.npy", "job/thumbnail.jpg", "job/.hidden.npy"):
        put(memory, name)
    names = fetched(monkeypatch)
    folder = local_features(Path("memory://bucket/job"), Silent())  # a path loses a slash
    assert sorted(names) == ["a.npy", "b.npy"]
    assert np.load(folder / "a.npy").shape == (3, 4)
    names.clear()
    memory.rm("/bucket/job/sub/b.npy")
    put(memory, "job/c.npy")
    assert local_features("memory://bucket/job/", Silent()) == folder
    assert names == ["c.npy"]
    assert [ref.slide_id for ref in find_bags([folder])] == ["a", "c"]


def test_a_single_file_and_a_set_in_it_are_features_too(memory: Any) -> None:
    put(memory, "job/a.npy")
    path = local_features("memory://bucket/job/a.npy::uni", Silent())
    assert path.name == "a.npy::uni"
    assert path.with_name("a.npy").is_file()


def test_what_arrived_before_a_fault_is_kept(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        put(memory, f"job/{name}.npy")
    original, broken = remote_file.fetch, ["b.npy"]
    names: list[str] = []

    def fetch(files: Any, inner: str, *rest: Any) -> None:
        names.append(inner.rpartition("/")[2])
        if names[-1] in broken:
            raise OSError("connection reset")
        original(files, inner, *rest)

    monkeypatch.setattr("tcssa.features.remote_features.fetch", fetch)
    with pytest.raises(FeatureFileError, match=r"memory://bucket/job: cannot be fetched .*reset"):
        local_features("memory://bucket/job", Silent())
    names.clear()
    broken.clear()
    local_features("memory://bucket/job", Silent())
    assert names == ["b.npy"]


def test_an_address_without_features_and_a_full_disk_are_told(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, "job/thumbnail.jpg")
    with pytest.raises(MissingDataError, match="memory://bucket/job: holds no feature files"):
        local_features("memory://bucket/job", Silent())
    with pytest.raises(FeatureFileError, match="cannot be fetched"):
        local_features("memory://bucket/none", Silent())
    put(memory, "job/a.npy")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("", (), {"free": 10}))
    with pytest.raises(DiskFullError):
        local_features("memory://bucket/job", Silent())


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is locked there")
def test_one_process_fetches_and_others_wait_for_it(memory: Any, tmp_path: Path) -> None:
    put(memory, "job/a.npy")
    folder = local_features("memory://bucket/job", Silent())
    code = (
        "import sys; from pathlib import Path; from tcssa.files.host_locks import locked\n"
        "with locked(Path(sys.argv[1]), exclusive=True):\n"
        "    print('has it', flush=True); sys.stdin.read()"
    )
    reporter = Notes()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        waiting = threading.Thread(target=local_features, args=("memory://bucket/job", reporter))
        waiting.start()
        assert reporter.came.wait(10)
        assert waiting.is_alive()
        other.stdin.close()
        waiting.join(10)
        assert not waiting.is_alive()
    message = f"waiting for process {other.pid}, which fetches memory://bucket/job"
    assert reporter.notes == [message]
    with locked(folder, exclusive=True, wait=False) as free:
        assert free
