"""Files that go on to a store as they are written."""

from pathlib import Path
from typing import Any

import pytest

from tcssa.errors import UploadError
from tcssa.files import atomic
from tcssa.files.forwarding import (
    content,
    forwarding,
    is_placeholder,
    leave_placeholder,
    remove,
    shown,
    store_of,
)


class Kept:
    """A store that keeps what it accepts in another folder."""

    address = "s3://bucket/job"

    def __init__(self, folder: Path, kept: Path) -> None:
        self._folder, self._kept = folder, kept
        self.fails = False
        kept.mkdir()

    def _place(self, path: Path) -> Path:
        return self._kept / path.relative_to(self._folder)

    def accept(self, file: Path, target: Path) -> None:
        if self.fails:
            raise UploadError(target, "is not taken")
        self._place(target).write_bytes(file.read_bytes())
        leave_placeholder(file, file.stat().st_size, 1000)

    def open(self, path: Path) -> Any:
        return self._place(path).open("rb")

    def remove(self, path: Path) -> None:
        self._place(path).unlink()


@pytest.fixture
def store(tmp_path: Path) -> Kept:
    (tmp_path / "job").mkdir()
    return Kept(tmp_path / "job", tmp_path / "kept")


def test_a_file_goes_on_and_leaves_its_size_and_time(tmp_path: Path, store: Kept) -> None:
    file = tmp_path / "job" / "S.h5"
    with forwarding(tmp_path / "job", store):
        atomic.write_bytes(file, b"features")
        assert (tmp_path / "kept" / "S.h5").read_bytes() == b"features"
        assert is_placeholder(file)
        assert (file.stat().st_size, file.stat().st_mtime, file.stat().st_blocks) == (8, 1000, 0)
        with content(file) as opened:
            assert opened.read() == b"features"
        atomic.write_bytes(file, b"renewed")
        assert (tmp_path / "kept" / "S.h5").read_bytes() == b"renewed"
        remove(file)
    assert list(tmp_path.rglob("*.h5")) == []


def test_a_file_that_is_not_taken_does_not_stand_here_either(tmp_path: Path, store: Kept) -> None:
    file = tmp_path / "job" / "S.h5"
    with forwarding(tmp_path / "job", store):
        atomic.write_bytes(file, b"whole")
        store.fails = True
        with pytest.raises(UploadError, match="is not taken"):
            atomic.write_bytes(file, b"again")
        assert file.stat().st_size == len(b"whole")
    assert list((tmp_path / "job").iterdir()) == [file]


def test_files_of_other_folders_and_after_the_block_stay(tmp_path: Path, store: Kept) -> None:
    with forwarding(tmp_path / "job", store):
        assert store_of(tmp_path / "job" / "a" / "S.h5") is store
        assert store_of(tmp_path / "jobs" / "S.h5") is None
    atomic.write_bytes(tmp_path / "job" / "S.h5", b"stays")
    assert content(tmp_path / "job" / "S.h5") == tmp_path / "job" / "S.h5"
    assert (tmp_path / "job" / "S.h5").read_bytes() == b"stays"
    assert shown(f"{tmp_path}/job/S.h5: is broken") == "s3://bucket/job/S.h5: is broken"
