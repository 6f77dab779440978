"""Whole cohorts: killed, shared between processes, with bad slides among them."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from shared_data import require_shared
from slide_files import FEATURES, damage_tile, stained, write_slide

from tcssa.errors import UsageError
from tcssa.jobs.watch import SlideEvent, Watch
from tcssa.slides import ExtractOptions, extract, find_slides
from tcssa.slides.extraction.verify import verify

CODE = """
import json, sys
from tcssa.slides import ExtractSettings, extract, find_slides
slides = find_slides([sys.argv[2]])
report = extract(slides, sys.argv[1], ExtractSettings(readers=1))
print(json.dumps({slide.slide_id: slide.status for slide in report.slides}))
"""

BAD = {
    "a_text": "no slide that any reader knows",
    "b_cut": "",
    "c_implausible": "implausible resolution",
    "d_damaged": "patches could not be read",
    "e_empty_file": "is empty: 0 bytes",
}
"""What is said of each bad slide."""

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten good slides and five bad ones, each bad in its own way."""
    folder = tmp_path_factory.mktemp("cohort")
    good = sorted(require_shared("cohorts/lung").glob("*.tif"))[:10]
    for slide in good:
        (folder / slide.name).symlink_to(slide)
    (folder / "a_text.svs").write_text("no slide")
    (folder / "b_cut.tif").write_bytes(good[0].read_bytes()[:100_000])
    shutil.copyfile(require_shared("slides/boxes.tiff"), folder / "c_implausible.tiff")
    damaged = folder / "d_damaged.svs"
    shutil.copyfile(require_shared("slides/cmu-1-small-region.svs"), damaged)
    damage_tile(damaged, column=4, row=7)
    (folder / "e_empty_file.svs").touch()
    return folder


def state_of(job: Path) -> dict[str, Any]:
    """All that a job holds, but for where it lies and when it was made."""
    state: dict[str, Any] = {}
    for path in sorted(path for path in job.rglob("*") if path.is_file()):
        name = str(path.relative_to(job))
        if path.suffix == ".h5":
            with h5py.File(path) as file:
                state[name] = {
                    key: (file[key][:].tolist(), _facts(file[key].attrs)) for key in file
                }
        else:
            state[name] = path.read_bytes()
    return state


def _facts(attributes: Any) -> dict[str, Any]:
    return {key: str(value) for key, value in attributes.items() if key != "savetodir"}


def start(job: Path, slides: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CODE, str(job), str(slides)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def num_done(job: Path) -> int:
    return len(list(job.glob(f"{FEATURES}/[!.]*.h5")))


@posix
def test_a_cohort_with_five_bad_slides_killed_twice_equals_an_undisturbed_run(
    cohort: Path, tmp_path: Path
) -> None:
    job = tmp_path / "job"
    for target in (2, 5):
        process = start(job, cohort)
        deadline = time.monotonic() + 120
        while num_done(job) < target and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert target <= num_done(job) < 10
    last = extract([cohort], job)
    assert {slide.slide_id for slide in last.failed} == BAD.keys()
    assert last.count("done") + last.count("skipped") == 10
    assert last.count("skipped") >= 5

    whole = extract([cohort], tmp_path / "whole")
    for slide in whole.failed:
        assert BAD[slide.slide_id] in (slide.reason or ""), slide.reason
    assert state_of(job) == state_of(tmp_path / "whole")
    with (job / "failures.csv").open() as stream:
        assert {row["slide_id"] for row in csv.DictReader(stream)} == BAD.keys()
    assert not verify(job).faults


@posix
def test_processes_that_are_given_the_same_slides_share_them(cohort: Path, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    for slide in cohort.glob("LC-*.tif"):
        (slides / slide.name).symlink_to(slide.resolve())
    (slides / "bad.svs").write_text("no slide")
    job = tmp_path / "job"
    processes = [start(job, slides) for _ in range(3)]
    results = [json.loads(process.communicate(timeout=240)[0]) for process in processes]
    for slide in (path.stem for path in slides.glob("LC-*.tif")):
        outcomes = [result[slide] for result in results]
        assert outcomes.count("done") == 1, (slide, outcomes)  # by one of them, and only once
        assert set(outcomes) <= {"done", "taken", "skipped"}
    assert num_done(job) == 10
    assert not list(job.rglob(".*"))
    with (job / "failures.csv").open() as stream:
        assert [row["slide_id"] for row in csv.DictReader(stream)] == ["bad"]
    assert not verify(job).faults


def test_a_slide_that_another_host_left_undone_is_taken_up_at_the_end(tmp_path: Path) -> None:
    lock = tmp_path / "job" / FEATURES / ".a.tcssa-lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 7, "token": "t"}))

    class DiesMeanwhile(Watch):
        """Makes the lock old once the slide was passed over."""

        def slide(self, event: SlideEvent, *whose: str | None) -> None:
            outcomes.append((event.slide_id, event.outcome))
            if event.outcome == "taken":
                os.utime(lock, (time.time() - 300,) * 2)

    outcomes: list[tuple[str, str]] = []
    (tmp_path / "slides").mkdir()
    for name, seed in (("a", 0), ("b", 1)):
        write_slide(tmp_path / "slides" / f"{name}.tif", stained(300, 300, seed=seed))
    report = extract(
        [tmp_path / "slides"], tmp_path / "job", options=ExtractOptions(watch=DiesMeanwhile())
    )
    assert outcomes == [("a", "taken"), ("b", "done"), ("a", "done")]
    assert [slide.status for slide in report.slides] == ["done", "done"]
    assert report.num_encoded == report.num_patches
    assert not lock.exists()


def test_slides_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for site, seed in (("a", 0), ("b", 1)):
        (tmp_path / "slides" / site).mkdir(parents=True)
        write_slide(tmp_path / "slides" / site / "s.tif", stained(300, 300, seed=seed))
    with pytest.raises(UsageError, match="two slides are called 's'"):
        find_slides([tmp_path / "slides"])
    slides = find_slides([tmp_path / "slides"], names="path")
    assert [slide.slide_id for slide in slides] == ["a__s", "b__s"]
    report = extract(slides, tmp_path / "job")
    assert report.count("done") == 2
    first, second = (report.features_folder / f"{name}.h5" for name in ("a__s", "b__s"))
    with h5py.File(first) as one, h5py.File(second) as two:
        assert not np.array_equal(one["features"][:], two["features"][:])


def test_another_slide_of_the_same_name_and_size_is_not_taken_for_done(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    first = write_slide(tmp_path / "one" / "s.tif", stained(300, 300, seed=0))
    second = write_slide(tmp_path / "two" / "s.tif", stained(300, 300, seed=1))
    assert first.stat().st_size == second.stat().st_size
    extract([first], tmp_path / "job")
    with pytest.raises(UsageError, match="made with slide = "):
        extract([second], tmp_path / "job")
