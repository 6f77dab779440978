"""Locks in a bucket, against a real S3 server over HTTP (moto's)."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from s3_server import s3_bucket

from tcssa.errors import UploadError
from tcssa.files import atomic, lock_objects
from tcssa.files.conditional_objects import ConditionalObjects
from tcssa.files.forwarding import look_again
from tcssa.files.lock_objects import LockObjects
from tcssa.files.locks import Owner
from tcssa.files.output_folder import output_folder
from tcssa.files.work_locks import held_locks, in_turn, live_locks, locks_in
from tcssa.reporter import Silent

# aiobotocore's own warnings are not ours to mend
pytestmark = [pytest.mark.s3, pytest.mark.filterwarnings("ignore")]

# Takes a lock as a process of a host, says so, and waits to be killed.
HOLD = """
import socket, sys, time
from tcssa.files import lock_objects
from tcssa.files.output_folder import output_folder
from tcssa.files.work_locks import locks_in
from tcssa.reporter import Silent

lock_objects.HEARTBEAT_S = 0.2
socket.gethostname = lambda: sys.argv[1]
with output_folder("s3://bucket/job", Silent()) as job, locks_in(job) as locks:
    assert locks.take("slide") is None
    print("taken", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with s3_bucket() as files:
        yield files


@pytest.fixture
def bucket(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path / "cache"))
    if server.find("bucket"):
        server.rm("bucket/job", recursive=True)
    return server


@pytest.fixture
def job(bucket: Any) -> Iterator[Path]:
    with output_folder("s3://bucket/job", Silent()) as folder:
        yield folder


@contextmanager
def holding(host: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        try:
            yield process
        finally:
            process.kill()


def test_one_process_has_a_lock_and_the_other_is_told_who(bucket: Any, job: Path) -> None:
    me = Owner(socket.gethostname(), os.getpid())
    with locks_in(job) as first, locks_in(job) as second:
        assert isinstance(first, LockObjects)
        assert first.take("slide") is None
        assert second.take("slide") == me
        assert second.take("other") is None
        assert [(held.name, held.owner) for held in held_locks(job)] == [
            ("other", me),
            ("slide", me),
        ]
        assert live_locks(job, ["slide", "none"]) == {"slide"}
        first.release("slide")
        assert second.take("slide") is None
        first.release("slide")  # which is no longer its own
        assert first.take("slide") == me
    assert bucket.find("bucket/job") == []


def test_names_too_long_for_a_key_are_locked_each_for_itself(job: Path) -> None:
    name = "ä" * 900
    with locks_in(job) as first, locks_in(job) as second:
        assert first.take(f"{name}1") is None
        assert second.take(f"{name}1") is not None
        assert second.take(f"{name}2") is None
        assert live_locks(job, [f"{name}1"]) == {f"{name}1"}


def test_the_lock_of_a_process_killed_on_this_host_is_taken_at_once(job: Path) -> None:
    with holding(socket.gethostname()) as process, locks_in(job) as locks:
        assert locks.take("slide") == Owner(socket.gethostname(), process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert live_locks(job, ["slide"]) == set()
        assert locks.take("slide") is None


def test_the_lock_of_another_host_is_its_own_until_it_gave_no_sign_of_life(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_objects, "STALE_S", 3.0)  # the store's times are whole seconds
    with holding("elsewhere") as process, locks_in(job) as locks:
        began = time.monotonic()
        while time.monotonic() - began < 5:
            assert locks.take("slide") == Owner("elsewhere", process.pid)
            time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert locks.take("slide") == Owner("elsewhere", process.pid)
        died = time.monotonic()
        while locks.take("slide") is not None:
            assert time.monotonic() - died < 10
            time.sleep(0.2)
        assert time.monotonic() - died > 1


def test_what_dead_processes_left_is_removed(
    bucket: Any, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holding("elsewhere"):
        assert len(bucket.find("bucket/job")) == 2
    monkeypatch.setattr(lock_objects, "STALE_S", 1.0)
    time.sleep(2.1)
    with locks_in(job):
        pass
    assert bucket.find("bucket/job") == []


def test_a_lock_whose_reply_is_lost_and_that_is_asked_for_again_is_ours(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_new = ConditionalObjects.put_new

    def put_twice(self: ConditionalObjects, key: str, data: bytes) -> str | None:
        put_new(self, key, data)
        return put_new(self, key, data)

    monkeypatch.setattr(ConditionalObjects, "put_new", put_twice)
    with locks_in(job) as locks:
        assert locks.take("slide") is None
        locks.release("slide")
        assert live_locks(job, ["slide"]) == set()


def test_of_two_that_take_over_a_dead_ones_lock_one_has_it(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holding(socket.gethostname()) as process, locks_in(job) as first, locks_in(job) as second:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        read = ConditionalObjects.read
        others: list[Owner | None] = []

        def other_is_quicker(self: ConditionalObjects, key: str) -> Any:
            there = read(self, key)
            if not others:
                others.append(Owner("", 0))
                others[0] = second.take("slide")
            return there

        monkeypatch.setattr(ConditionalObjects, "read", other_is_quicker)
        assert first.take("slide") == Owner(socket.gethostname(), os.getpid())
        assert others == [None]


def test_tables_written_in_turn_hold_what_every_process_wrote(
    bucket: Any, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path / "another"))
    with output_folder("s3://bucket/job", Silent()) as other:
        for folder, row in ((job, "a"), (other, "b"), (job, "c")):
            with in_turn(folder, "table", print):
                look_again(folder, ["table.csv"])
                table = folder / "table.csv"
                before = table.read_text() if table.exists() else ""
                atomic.write_text(table, f"{before}{row}\n")
            assert bucket.cat("bucket/job/table.csv").decode() == f"{before}{row}\n"
        (other / "table.csv").unlink()
        bucket.rm_file("bucket/job/table.csv")
        look_again(job, ["table.csv"])
        assert not (job / "table.csv").exists()


@pytest.mark.parametrize("names", [None, ["a.h5", "b.h5", "c.h5"]])
def test_what_others_put_and_removed_since_is_seen(
    bucket: Any, job: Path, names: list[str] | None
) -> None:
    atomic.write_bytes(job / "features" / "a.h5", b"1234")
    atomic.write_bytes(job / "features" / "b.h5", b"12")
    bucket.rm_file("bucket/job/features/a.h5")
    bucket.pipe_file("bucket/job/features/c.h5", b"123456")
    look_again(job / "features", names)
    there = {path.name: path.stat().st_size for path in (job / "features").iterdir()}
    assert there == {"b.h5": 2, "c.h5": 6}


@pytest.mark.parametrize("ignored", ["IfNoneMatch", "IfMatch"])
def test_a_store_that_ignores_a_condition_is_named_and_used_alone(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, ignored: str
) -> None:
    put = ConditionalObjects._put

    def put_anyway(
        self: ConditionalObjects, key: str, data: bytes, not_so: tuple[int, ...], **condition: str
    ) -> str | None:
        condition.pop(ignored, None)
        return put(self, key, data, not_so, **condition)

    monkeypatch.setattr(ConditionalObjects, "_put", put_anyway)
    reporter = Silent()
    with output_folder("s3://bucket/job", reporter) as job, locks_in(job) as locks:
        assert not isinstance(locks, LockObjects)
    (warning,) = reporter.warnings
    assert "s3://bucket/job: slides cannot be locked here" in warning
    assert "give one call at a time" in warning
    assert bucket.find("bucket/job") == []


def test_a_folder_whose_first_file_comes_while_it_is_listed_is_no_object(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = type(bucket)._lsdir

    async def comes_later(self: Any, path: str, *how: Any, **more: Any) -> Any:
        found = await objects(self, path, *how, **more)
        await self._pipe_file("bucket/job/features/S.h5", b"1234")
        return found

    monkeypatch.setattr(type(bucket), "_lsdir", comes_later)
    with output_folder("s3://bucket/job", Silent()) as job:
        monkeypatch.undo()
        look_again(job)
        assert [path.name for path in job.rglob("*.h5")] == ["S.h5"]


def test_a_lock_taken_since_the_locks_were_listed_is_not_removed(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = ConditionalObjects.ages_s

    def without_signs_of_life(self: ConditionalObjects, beginning: str) -> dict[str, float]:
        return {k: age for k, age in listed(self, beginning).items() if not k.endswith("alive")}

    with locks_in(job) as first:
        assert first.take("slide") is None
        monkeypatch.setattr(ConditionalObjects, "ages_s", without_signs_of_life)
        with locks_in(job) as second:
            assert second.take("slide") is not None


def test_a_table_that_is_to_go_up_is_not_replaced_by_an_older_one(bucket: Any, job: Path) -> None:
    bucket.pipe_file("bucket/job/features/config.resolved.yaml", b"older")
    atomic.write_text(job / "features" / "config.resolved.yaml", "newer")
    look_again(job / "features")
    assert (job / "features" / "config.resolved.yaml").read_text() == "newer"


def test_a_store_that_is_away_as_a_lock_is_given_back_is_asked_again_at_the_end(
    bucket: Any, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = ConditionalObjects.remove
    calls = []

    def away(self: ConditionalObjects, key: str, tag: str | None = None) -> None:
        calls.append(key)
        if len(calls) == 1:
            raise UploadError("s3://bucket/job", "cannot be locked")
        remove(self, key, tag)

    with locks_in(job) as locks:
        assert locks.take("slide") is None
        monkeypatch.setattr(ConditionalObjects, "remove", away)
        locks.release("slide")
    assert bucket.find("bucket/job") == []
