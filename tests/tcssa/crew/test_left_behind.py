import json
import os
import time
from pathlib import Path

import pytest
from crew_jobs import Numbered

from tcssa.crew import left_behind
from tcssa.crew.left_behind import LeftBehind
from tcssa.files.locks import FolderLocks
from tcssa.reporter import Silent

ITEMS = [Numbered(name) for name in "abc"]


def names(items: list[Numbered]) -> str:
    return "".join(item.slide_id for item in items)


def lock_elsewhere(folder: Path, name: str, age_s: float = 0.0) -> Path:
    lock = folder / f".{name}.tcssa-lock"
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 7, "token": "t"}))
    os.utime(lock, (time.time() - age_s,) * 2)
    return lock


def test_what_nobody_has_any_more_is_left_behind(tmp_path: Path) -> None:
    behind = LeftBehind(tmp_path, Silent())
    lock_elsewhere(tmp_path, "b", age_s=300)
    with FolderLocks(tmp_path / "other"):
        lock_elsewhere(tmp_path, "c")
        assert names(behind.among(ITEMS, {"b", "c"})) == "b"
    assert behind.among(ITEMS[1:2], {"b"}) == []  # a pass that got nothing is the last


def test_the_lock_of_a_worker_of_ours_that_died_elsewhere_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = lock_elsewhere(tmp_path, "a")
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        os.utime(lock, (1, 1))

    monkeypatch.setattr(left_behind.time, "sleep", sleep)
    behind = LeftBehind(tmp_path, Silent())
    behind.deaths["a"] = 1
    assert names(behind.among(ITEMS[:1], {"a"})) == "a"
    assert len(waits) == 1
    assert behind.among(ITEMS[:1], {"a"}) == []  # it did not die again
