import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tcssa.files import locks
from tcssa.files.locks import FolderLocks, Owner

HOLD = """
import sys, time
from pathlib import Path
from tcssa.files.locks import FolderLocks
with FolderLocks(Path(sys.argv[1])) as locks:
    assert locks.take("slide") is None
    print("taken", flush=True)
    time.sleep(60)
"""


def lock_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_process_has_a_lock_and_the_other_is_told_who(tmp_path: Path) -> None:
    with FolderLocks(tmp_path) as first, FolderLocks(tmp_path) as second:
        assert first.take("slide") is None
        assert second.take("slide") == Owner(socket.gethostname(), os.getpid())
        assert second.take("other") is None
        first.release("slide")
        assert second.take("slide") is None
    assert lock_files(tmp_path) == []


@pytest.mark.parametrize("end", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_lock_is_there_with_its_content_or_not_at_all(
    end: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, content: bytes) -> int:
        raise end

    monkeypatch.setattr(os, "write", fail)
    with FolderLocks(tmp_path) as first, FolderLocks(tmp_path) as second:
        with pytest.raises(type(end)):
            first.take("slide")
        monkeypatch.undo()
        assert second.take("slide") is None
    assert lock_files(tmp_path) == []


def test_one_process_has_a_lock_where_a_disk_has_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*paths: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with FolderLocks(tmp_path) as first, FolderLocks(tmp_path) as second:
        assert first.take("slide") is None
        assert second.take("slide") == Owner(socket.gethostname(), os.getpid())
    assert lock_files(tmp_path) == []


def test_locks_are_given_back_when_the_work_ends_in_an_error(tmp_path: Path) -> None:
    def work() -> None:
        with FolderLocks(tmp_path) as held:
            held.take("slide")
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert lock_files(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    with FolderLocks(tmp_path) as mine:
        owner = mine.take("slide")
        assert owner is not None
        assert owner.pid == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert mine.take("slide") is None
    assert lock_files(tmp_path) == []


def write_lock(folder: Path, *, age_s: float, content: str | None = None) -> Path:
    path = folder / ".slide.tcssa-lock"
    other = {"host": "another-machine", "pid": 1, "token": "theirs"}
    path.write_text(json.dumps(other) if content is None else content)
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


@pytest.mark.parametrize(
    ("age_s", "content", "taken"),
    [(5, None, False), (500, None, True), (5, "", False), (500, "", True), (500, "{tru", True)],
)
def test_a_lock_of_another_machine_is_taken_over_once_it_is_not_renewed(
    tmp_path: Path, age_s: float, content: str | None, taken: bool
) -> None:
    write_lock(tmp_path, age_s=age_s, content=content)
    with FolderLocks(tmp_path) as mine:
        assert (mine.take("slide") is None) == taken


def test_a_lock_is_renewed_while_its_owner_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.02)
    with FolderLocks(tmp_path) as mine:
        mine.take("slide")
        path = tmp_path / ".slide.tcssa-lock"
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1


def test_a_lock_that_was_taken_over_is_not_removed_by_its_first_owner(tmp_path: Path) -> None:
    with FolderLocks(tmp_path) as first:
        first.take("slide")
        path = write_lock(tmp_path, age_s=0)
    assert path.exists()


def test_a_lock_made_anew_meanwhile_is_put_back(tmp_path: Path) -> None:
    dead = {"host": "another-machine", "pid": 1, "token": "dead"}
    path = write_lock(tmp_path, age_s=0)
    before = path.read_text()
    locks._put_aside(path, dead)
    assert path.read_text() == before
    assert lock_files(tmp_path) == [path.name]


def test_locks_of_the_dead_are_cleared_away(tmp_path: Path) -> None:
    write_lock(tmp_path, age_s=500)
    with FolderLocks(tmp_path):
        assert lock_files(tmp_path) == []
