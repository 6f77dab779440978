import json
import re
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from crew_jobs import Numbered, Write

from tcssa.crew.dispatcher import Dispatcher
from tcssa.crew.local_processes import LocalProcesses, cpu_seats
from tcssa.errors import FileError
from tcssa.jobs.watch import SlideEvent, Watch
from tcssa.reporter import Silent

LINES_EACH = 300


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_lines(path: Path, worker: str) -> None:
    watch = Watch(path)
    for n in range(LINES_EACH):
        watch.slide(SlideEvent(f"S{n}", "failed", reason="x" * 500), worker)


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    log, context = tmp_path / "log.jsonl", get_context("spawn")
    processes = [context.Process(target=write_lines, args=(log, f"w{n}")) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    events = read(log)
    assert [e["slide_id"] for e in events if e["worker"] == "w1"] == [
        f"S{n}" for n in range(LINES_EACH)
    ]
    assert len(events) == 2 * LINES_EACH


def test_the_log_tells_of_every_slide_who_had_it_and_of_a_worker_that_died(tmp_path: Path) -> None:
    log, items = tmp_path / "log.jsonl", [Numbered(f"S{n}") for n in range(12)]
    job = Write(tmp_path, kills=("S3",))
    reporter, rows = Silent(), list[str]()
    with reporter.task("work", len(items), "slides") as task:
        engine = LocalProcesses(cpu_seats(2))
        Dispatcher(job, items, engine, rows.append, reporter, task, Watch(log)).run()
    events = read(log)
    slides = {event["slide_id"]: event for event in events if event["event"] == "slide"}
    assert slides.keys() == {item.slide_id for item in items}
    assert slides["S3"]["outcome"] == "lost"
    assert slides["S3"]["worker"] is None
    assert {slides[f"S{n}"]["worker"] for n in (1, 2)} <= {"worker 1", "worker 2"}
    dead = [event for event in events if event["event"] == "worker" and event["outcome"] == "died"]
    assert [event["reason"] for event in dead] == ["by signal SIGKILL"] * 3


def test_a_command_s_end_says_whether_it_came_to_it(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with pytest.raises(KeyError), Watch(log).over("extract", 3, 1):
        raise KeyError
    with Watch(log).over("extract", 3, 2):
        pass
    assert [(e["event"], e.get("outcome"), e.get("num_skipped")) for e in read(log)] == [
        ("begin", None, 1), ("end", "stopped", None),
        ("begin", None, 2), ("end", "complete", None),
    ]  # fmt: skip


def test_metrics_are_what_a_node_exporter_reads(tmp_path: Path) -> None:
    path = tmp_path / "tcssa.prom"
    watch = Watch(metrics=path)
    with watch.over("encode", 10, 2):
        assert 'tcssa_slides_total{command="encode",outcome="skipped"} 2\n' in path.read_text()
        watch.slide(SlideEvent("A", "done", num_patches=700))
        watch.slide(SlideEvent("B", "failed"))
    text = path.read_text()
    assert 'tcssa_slides_total{command="encode",outcome="done"} 1\n' in text
    assert 'tcssa_slides_total{command="encode",outcome="failed"} 1\n' in text
    assert 'tcssa_patches_total{command="encode"} 700\n' in text
    assert 'tcssa_slides{command="encode"} 10\n' in text
    sample = re.compile(r'[a-z_]+\{[a-z]+="\w+"(,[a-z]+="\w+")*\} \d+(\.\d+)?')
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in text.splitlines())
    assert [each.name for each in tmp_path.iterdir()] == ["tcssa.prom"]


def test_a_log_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="the log cannot be written"):
        Watch(tmp_path / "nowhere" / "log.jsonl")
