import json
import os
import socket
import time
from pathlib import Path

import pytest

from tcssa.errors import FileError, MissingDataError
from tcssa.files.locks import FolderLocks
from tcssa.jobs.record import write_record
from tcssa.jobs.status import job_status


def write_job(job: Path, num_slides: int, ages_s: dict[str, float]) -> Path:
    """A job whose slides were done so many seconds ago."""
    folder = job / "grid" / "features"
    folder.mkdir(parents=True)
    write_record(folder, "extract", num_slides, folder)
    for name, age_s in ages_s.items():
        path = folder / f"{name}.h5"
        path.touch()
        os.utime(path, (time.time() - age_s,) * 2)
    return folder


def test_done_failed_in_work_and_left_are_read_from_the_folder(tmp_path: Path) -> None:
    folder = write_job(tmp_path, 8, {"A": 300, "B": 200, "C": 100})
    (folder / ".D.h5.host.1.tcssa-tmp").touch()
    (tmp_path / "failures.csv").write_text(
        "slide_id,path,reason\nA,a.svs,done since\nE,e.svs,is broken\n"
    )
    with FolderLocks(folder) as locks:
        locks.take("D")
        (found,) = job_status(tmp_path)
    assert (found.num_done, found.num_left, found.failed) == (3, 4, {"E": "is broken"})
    (lock,) = found.in_work
    assert (lock.name, lock.owner.pid, lock.is_live) == ("D", os.getpid(), True)
    assert lock.since == pytest.approx(time.time(), abs=60)
    # two more than the first, in the 300 s since
    assert found.slides_per_s == pytest.approx(2 / 300, rel=0.1)
    assert found.seconds_left == pytest.approx(600, rel=0.1)
    assert found.last_s == pytest.approx(100, abs=10)


def test_slides_in_a_parquet_part_are_done(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    folder = write_job(tmp_path, 5, {"A": 100})
    parquet.write_table(arrow.table({"slide_id": ["B", "C"]}), folder / "part-1.parquet")
    (found,) = job_status(tmp_path)
    assert (found.num_done, found.num_left) == (3, 2)
    (folder / "part-2.parquet").write_bytes(b"no Parquet")
    with pytest.raises(FileError, match=r"part-2\.parquet"):
        job_status(tmp_path)


def test_files_of_hours_ago_are_no_rate(tmp_path: Path) -> None:
    write_job(tmp_path, 3, {"A": 9000, "B": 8000})
    (found,) = job_status(tmp_path)
    assert (found.slides_per_s, found.seconds_left, found.num_left) == (0.0, None, 1)


def test_more_slides_than_the_last_call_was_given_leave_no_time_to_tell(tmp_path: Path) -> None:
    write_job(tmp_path, 1, {"A": 20, "B": 10})
    (found,) = job_status(tmp_path)
    assert (found.num_left, found.seconds_left) == (None, None)


@pytest.mark.parametrize(
    ("host", "age_s", "is_live"),
    [("elsewhere", 20, True), ("elsewhere", 200, False), ("", 20, False)],
)
def test_a_dead_worker_s_lock_is_told_from_a_live_one_s(
    host: str, age_s: float, is_live: bool, tmp_path: Path
) -> None:
    folder = write_job(tmp_path, 1, {})
    path = folder / ".S.tcssa-lock"
    lock = {"host": host or socket.gethostname(), "pid": 2**30, "token": "t"}  # no such process
    path.write_text(json.dumps(lock))
    os.utime(path, (time.time() - age_s,) * 2)
    (found,) = job_status(tmp_path)
    assert [(each.name, each.is_live, each.since) for each in found.in_work] == [
        ("S", is_live, None)
    ]


def test_two_encoders_of_one_folder_are_two_jobs(tmp_path: Path) -> None:
    for name in ("features_a", "features_b"):
        write_record(tmp_path / "grid" / name, "extract", 5, tmp_path / "grid" / name)
    assert [each.results.name for each in job_status(tmp_path)] == ["features_a", "features_b"]


def test_a_folder_without_a_job_and_a_damaged_record_are_said(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no job of tcssa extract or encode is here"):
        job_status(tmp_path)
    (tmp_path / "job.json").write_text('{"command": "encode"}')
    with pytest.raises(FileError, match=r"job\.json"):
        job_status(tmp_path)
