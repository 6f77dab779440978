"""Locks of one machine: one process makes something, and the others say whom they wait for."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcssa.files.cache_folder import cache_folder, one_process
from tcssa.files.host_locks import locked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is locked there")

HOLDER = """
import sys
from pathlib import Path
from tcssa.files.host_locks import locked
with locked(Path(sys.argv[1]), exclusive=True):
    print("has it", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that holds the lock of ``locks/a--b`` until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "locks" / "a--b")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        yield process


def test_who_must_not_wait_is_told_that_it_is_taken(
    tmp_path: Path, holder: "subprocess.Popen[bytes]"
) -> None:
    with locked(tmp_path / "locks" / "a--b", exclusive=False, wait=False) as got:
        assert not got


def test_the_others_wait_and_say_for_whom(
    tmp_path: Path, holder: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path))
    said, came, done = list[str](), threading.Event(), threading.Event()

    def say(text: str) -> None:
        said.append(text)
        came.set()

    def wait() -> None:
        with one_process("a/b", "fetches a/b", say):
            done.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert came.wait(10)
    assert not done.is_set()
    holder.kill()  # a lock ends with its process
    thread.join(10)
    assert done.is_set()
    assert said == [f"waiting for process {holder.pid}, which fetches a/b"]


def test_who_only_reads_a_copy_does_not_keep_others_from_it(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "copy", exclusive=False),
        locked(tmp_path / "copy", exclusive=False, wait=False) as second,
        locked(tmp_path / "copy", exclusive=True, wait=False) as alone,
    ):
        assert (second, alone) == (True, False)


def test_a_cache_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path / "file"))
    assert cache_folder() == tmp_path / "file"
    with one_process("a", "fetches a", print):
        pass
