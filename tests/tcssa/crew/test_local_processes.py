from pathlib import Path

import pytest
from crew_jobs import DiesAtOnce, Numbered, Write

from tcssa.crew.dispatcher import Dispatcher
from tcssa.crew.local_processes import LocalProcesses, cpu_seats, gpu_seats
from tcssa.crew.shares import Share
from tcssa.errors import DeviceError, FileError, ProcessesError, UsageError
from tcssa.reporter import Silent

ITEMS = [Numbered(f"S{n:02}") for n in range(40)]


def run(
    job: Write, items: list[Numbered], workers: int = 2
) -> tuple[list[str], list[Share], list[str]]:
    rows: list[str] = []
    reporter = Silent()
    with reporter.task("work", len(items), "slides") as task:
        crew = LocalProcesses(cpu_seats(workers))
        shares = Dispatcher(job, items, crew, rows.append, reporter, task).run()
    return rows, shares, reporter.warnings


def workers_of(folder: Path) -> dict[str, int]:
    return {path.name: len(path.read_text().splitlines()) for path in folder.iterdir()}


def test_two_workers_do_each_item_once(tmp_path: Path) -> None:
    together, folder = tmp_path / "together", tmp_path / "items"
    together.mkdir()
    folder.mkdir()
    rows, shares, warnings = run(Write(folder, together=together), ITEMS)
    assert rows == ["done"] * 40
    assert workers_of(folder) == {item.slide_id: 1 for item in ITEMS}
    assert [share.worker for share in shares] == ["worker 1", "worker 2"]
    assert sum(share.num_slides for share in shares) == 40
    assert sum(share.report for share in shares) == 40
    assert warnings == ["the same of every worker"]  # and not once from each


def test_what_a_dead_worker_held_goes_to_the_others(tmp_path: Path) -> None:
    rows, shares, warnings = run(Write(tmp_path, kills_once=("S05",)), ITEMS)
    assert rows == ["done"] * 40
    assert workers_of(tmp_path)["S05"] == 2
    (dead,) = [share for share in shares if share.died]
    assert (
        f"{dead.worker} ended (by signal SIGKILL); it held 1 slide, for the others now" in warnings
    )


def test_an_item_that_kills_every_worker_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    rows, _, _ = run(Write(tmp_path, kills=("S03",)), ITEMS)
    assert rows.count("done") == 39
    assert "lost S03: its worker ended 3 times (by signal SIGKILL)" in rows
    assert workers_of(tmp_path)["S03"] == 3


def test_an_error_that_is_not_of_an_item_ends_all_and_keeps_its_words(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="S07: is broken") as caught:
        run(Write(tmp_path, raises="S07"), ITEMS)
    assert caught.value.hint == "mend it"
    assert caught.value.path == tmp_path / "S07"


def test_workers_that_die_before_they_begin_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(
        ProcessesError, match=r"ended before it began \(by signal SIGKILL\), 3 times"
    ):
        run(DiesAtOnce(tmp_path), ITEMS[:4], workers=1)


def test_gpus_that_are_not_there_are_an_error() -> None:
    with pytest.raises(DeviceError, match="--gpus 97: this machine has"):
        gpu_seats("97")
    for wrong in ("two", "", "0,", "-1"):
        with pytest.raises(UsageError, match=f"takes all, or numbers as 0,1; got '{wrong}'"):
            gpu_seats(wrong)
