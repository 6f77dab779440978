import json
import os
import time
from pathlib import Path

import pytest
from command_line import Run
from factories import make_compressor, write_bag

from tcssa.compressor import save_compressor
from tcssa.jobs.record import write_record


def test_a_job_in_work_is_told_in_80_columns(
    tcssa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    job, now = tmp_path / "job", time.time()
    folder = job / "20x_224px_0px_overlap" / "features_uni_v2"
    write_record(folder, "extract", 2000, folder)
    for n in range(10):
        (folder / f"S{n}.h5").touch()
        os.utime(folder / f"S{n}.h5", (now - 90 - 30 * n,) * 2)
    (job / "failures.csv").write_text("slide_id,path,reason\nX,slides/X.svs,is cut short\n")
    name = "TCGA-05-4244-01Z-00-DX1.d4ff32cd-38cf-40ea-8213-45c2b100ac01"
    lock = {"host": "gpu-07", "pid": 4182, "token": "t", "since": now - 3 * 86400}
    (folder / f".{name}.tcssa-lock").write_text(json.dumps(lock))
    told = tcssa("status", str(job))
    assert told.code == 0
    assert "10 of 2,000 slides done, 1 failed, 1,989 left" in told.stdout
    assert "the last one 1 min ago; 90 slides an hour, about 22 h" in told.stdout
    assert "3 days 0 h" in told.stdout
    assert "is cut short" in told.stdout
    lines = told.stdout.splitlines()
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80
    (as_json,) = tcssa("status", str(job), "--json").json["jobs"]
    assert as_json["in_work"][0]["owner"] == {"host": "gpu-07", "pid": 4182}
    assert as_json["in_work"][0]["is_live"] is True
    assert as_json["failed"] == {"X": "is cut short"}


def test_an_archive_of_two_shards_has_one_status_and_a_log(tcssa: Run, tmp_path: Path) -> None:
    save_compressor(make_compressor(), tmp_path / "model.safetensors")
    for i in range(4):
        write_bag(tmp_path / "bags" / f"s{i}.h5", 20, seed=i)
    (tmp_path / "bags" / "broken.h5").write_bytes(b"no HDF5")
    out, log = tmp_path / "encoded", tmp_path / "log.jsonl"
    common = ("encode", str(tmp_path / "bags"), "--model", str(tmp_path / "model.safetensors"),
              "--out", str(out), "--device", "cpu", "--log-json", str(log))  # fmt: skip
    codes = [tcssa(*common, "--shard", f"{n}/2").code for n in (1, 2)]
    assert sorted(codes) == [0, 1]
    (status,) = tcssa("status", str(out), "--json").json["jobs"]
    assert (status["num_slides"], status["num_done"], status["num_left"]) == (5, 4, 0)
    assert status["failed"].keys() == {"broken"}
    events = [json.loads(line) for line in log.read_text().splitlines()]
    outcomes = {e["slide_id"]: e["outcome"] for e in events if e["event"] == "slide"}
    assert outcomes == {"broken": "failed", "s0": "done", "s1": "done", "s2": "done", "s3": "done"}
    (written,) = [e for e in events if e.get("slide_id") == "s0"]
    assert written["seconds"].keys() == {"encode", "write"}
    assert "cpu" in written["device"]


def test_a_folder_without_a_job_is_one_line(tcssa: Run, tmp_path: Path) -> None:
    told = tcssa("status", str(tmp_path))
    assert told.code == 1
    assert "no job of tcssa extract or encode is here" in told.stderr
