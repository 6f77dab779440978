"""The scripts of deploy/slurm on a real Slurm of one node."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from factories import make_compressor, write_bag
from slide_files import draw_slides
from slurm_cluster import PROGRAMS, Slurm, slurm_cluster

from tcssa.compressor import save_compressor
from tcssa.jobs.status import job_status
from tcssa.slides import ExtractSettings, extract

SCRIPTS = Path(__file__).resolve().parents[2] / "deploy" / "slurm"
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_ENCODER = "efficientnet_lite0_random"
_SMALL = ("--mem=0", "--cpus-per-task=1")

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        any(shutil.which(each, path=_PATH) is None for each in PROGRAMS),
        reason="Slurm is not installed: apt-get install slurmctld slurmd slurm-client munge",
    ),
    pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs root"),
]


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, slurm_cluster(Path(folder)) as up:
        yield up


@pytest.fixture
def tcssa(tmp_path: Path) -> dict[str, str]:
    """The environment of tasks, in which tcssa is this one."""
    program = tmp_path / "bin" / "tcssa"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'from tcssa_cli.main import main; main()' \"$@\"\n"
    )
    program.chmod(0o755)
    python_path = os.pathsep.join(path for path in sys.path if path)
    path = f"{program.parent}:{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"}


def wait_for(is_so: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to it"
        time.sleep(0.2)


def are_over(slurm: Slurm, job: str) -> bool:
    return set(slurm.states(job).values()) <= {"COMPLETED", "FAILED", "CANCELLED"}


def slides_in(log: Path) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [event for event in events if event["event"] == "slide"]


def test_an_array_does_every_slide_though_a_task_is_killed_and_requeued(
    slurm: Slurm, tcssa: dict[str, str], tmp_path: Path
) -> None:
    slides, job = tmp_path / "slides", tmp_path / "job"
    draw_slides(slides, 12)
    command = ("extract", str(slides), "--out", str(job), "--encoder", _ENCODER, "--device", "cpu",
               "--readers", "1")  # fmt: skip
    array = slurm.run(
        "sbatch", "--parsable", "--array=1-2", *_SMALL, str(SCRIPTS / "array.sbatch"), *command,
        where=tmp_path, **tcssa,
    )  # fmt: skip
    log = tmp_path / f"tcssa-{array}_2.jsonl"
    wait_for(lambda: log.exists() and len(slides_in(log)) >= 2)
    slurm.run("scontrol", "requeue", f"{array}_2")
    wait_for(lambda: slurm.states(array)["2"] in ("PENDING", "RUNNING"))
    wait_for(lambda: are_over(slurm, array))
    assert set(slurm.states(array).values()) == {"COMPLETED"}
    begins = [line for line in log.read_text().splitlines() if '"event": "begin"' in line]
    assert len(begins) == 2, "the second task ran twice"
    (status,) = job_status(job)
    assert (status.num_done, status.num_left, status.in_work) == (12, 0, [])
    shared = {path.name: path.read_bytes() for path in status.results.glob("*.h5")}
    shutil.rmtree(job)  # a file names its folder
    extract([slides], job, ExtractSettings(encoder=_ENCODER, device="cpu"))
    assert {path.name: path.read_bytes() for path in status.results.glob("*.h5")} == shared


def test_tasks_of_an_array_encode_a_part_each(
    slurm: Slurm, tcssa: dict[str, str], tmp_path: Path
) -> None:
    save_compressor(make_compressor(), tmp_path / "model.safetensors")
    for i in range(7):
        write_bag(tmp_path / "bags" / f"s{i}.h5", 20 + i, seed=i)
    array = slurm.run(
        "sbatch", "--parsable", "--array=4-6", *_SMALL, str(SCRIPTS / "array.sbatch"), "encode",
        "bags", "--model", "model.safetensors", "--out", "encoded", "--shard", "I/N",
        where=tmp_path, **tcssa,
    )  # fmt: skip
    wait_for(lambda: are_over(slurm, array))
    assert set(slurm.states(array).values()) == {"COMPLETED"}
    assert len(list((tmp_path / "encoded").glob("index-*-of-3.csv"))) == 3
    (status,) = job_status(tmp_path / "encoded")
    assert (status.num_slides, status.num_done) == (7, 7)


def test_an_allocation_s_nodes_share_the_job(
    slurm: Slurm, tcssa: dict[str, str], tmp_path: Path
) -> None:
    slides = tmp_path / "slides"
    draw_slides(slides, 3)
    job = slurm.run(
        "sbatch", "--parsable", "--nodes=1", *_SMALL, str(SCRIPTS / "allocation.sbatch"),
        "extract", "slides", "--out", "job", "--encoder", _ENCODER, "--workers", "2",
        where=tmp_path, **tcssa,
    )  # fmt: skip
    wait_for(lambda: are_over(slurm, job))
    assert set(slurm.states(job).values()) == {"COMPLETED"}
    assert {each["worker"] for each in slides_in(tmp_path / f"tcssa-{job}_0.jsonl")} <= {
        "worker 1", "worker 2",
    }  # fmt: skip
    (status,) = job_status(tmp_path / "job")
    assert (status.num_slides, status.num_done) == (3, 3)
