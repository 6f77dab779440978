"""Outputs that go to an object store, here fsspec's in memory; `test_s3_outputs` has a server."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from command_line import Run
from factories import make_compressor, write_bag
from slide_files import stained, write_slide

from tcssa.compressor import save_compressor
from tcssa.files import object_store


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(object_store, "_WAITS_S", (0.0,))
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def refuse(monkeypatch: pytest.MonkeyPatch, memory: Any, *endings: str) -> None:
    """Let the store take no object whose name ends so."""
    put = type(memory).put_file

    def put_file(self: Any, lpath: str, rpath: str, **how: Any) -> None:
        if rpath.endswith(endings):
            raise ConnectionResetError("reset")
        put(self, lpath, rpath, **how)

    monkeypatch.setattr(type(memory), "put_file", put_file)


def rows(memory: Any, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(memory.cat(name).decode().splitlines()))


def test_a_slide_whose_features_are_not_taken_fails_and_is_made_later(
    memory: Any, tmp_path: Path, tcssa: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(2):
        write_slide(tmp_path / f"S{n}.tif", stained(230, 230, seed=n))
    command = ("extract", tmp_path / "S0.tif", tmp_path / "S1.tif", "--tissue", "all",
               "--out", "memory://bucket/job", "--json")  # fmt: skip
    with monkeypatch.context() as broken:
        refuse(broken, memory, "efficientnet_lite0/S0.h5")
        told = tcssa(*command)
    assert told.code == 1
    first, second = told.json["slides"]
    assert first["status"] == "failed"
    assert "memory://bucket/job" in first["reason"]
    assert "S0.h5: cannot be stored (ConnectionResetError: reset)" in first["reason"]
    assert "give the same command again" in first["hint"]
    assert second["status"] == "done"
    assert [row["slide_id"] for row in rows(memory, "/bucket/job/failures.csv")] == ["S0"]
    again = tcssa(*command)
    assert [slide["status"] for slide in again.json["slides"]] == ["done", "skipped"]
    assert not memory.exists("/bucket/job/failures.csv")


@pytest.mark.parametrize(("to", "ending"), [("hdf5", "/s0.h5"), ("parquet", ".parquet")])
def test_slots_that_are_not_taken_are_named_and_made_later(
    memory: Any,
    tmp_path: Path,
    tcssa: Run,
    monkeypatch: pytest.MonkeyPatch,
    to: str,
    ending: str,
) -> None:
    save_compressor(make_compressor(), tmp_path / "model.safetensors")
    for n in range(2):
        write_bag(tmp_path / "bags" / f"s{n}.h5", 20, seed=n)
    command = ("encode", tmp_path / "bags", "--model", tmp_path / "model.safetensors",
               "--device", "cpu", "--out", "memory://bucket/slots", "--to", to,
               "--json")  # fmt: skip
    with monkeypatch.context() as broken:
        refuse(broken, memory, ending)
        told = tcssa(*command)
    assert told.code == 1
    lost = 1 if to == "hdf5" else 2  # a part holds both
    assert (told.json["num_encoded"], len(told.json["failed"])) == (2 - lost, lost)
    assert "cannot be stored" in told.json["failed"][0]["reason"]
    failed = rows(memory, "/bucket/slots/failed.csv")
    assert [Path(row["path"]).stem for row in failed] == ["s0", "s1"][:lost]
    again = tcssa(*command)
    assert (again.code, again.json["num_encoded"], again.json["num_skipped"]) == (0, lost, 2 - lost)
    assert len(rows(memory, "/bucket/slots/index.csv")) == 2
    assert not memory.exists("/bucket/slots/failed.csv")


def test_slides_of_a_part_that_are_encoded_again_leave_it_in_the_store(
    memory: Any, tmp_path: Path, tcssa: Run
) -> None:
    save_compressor(make_compressor(), tmp_path / "model.safetensors")
    for n in range(3):
        write_bag(tmp_path / "bags" / f"s{n}.h5", 20, seed=n)
    command = ("--model", tmp_path / "model.safetensors", "--device", "cpu",
               "--out", "memory://bucket/slots", "--to", "parquet", "--json")  # fmt: skip
    assert tcssa("encode", tmp_path / "bags", *command).json["num_encoded"] == 3
    write_bag(tmp_path / "bags" / "s1.h5", 30, seed=5)
    told = tcssa("encode", tmp_path / "bags", *command).json
    assert (told["num_encoded"], told["num_renewed"], told["num_skipped"]) == (1, 1, 2)
    assert len([name for name in memory.store if name.endswith(".parquet")]) == 2
    index = rows(memory, "/bucket/slots/index.csv")
    assert [row["num_patches"] for row in sorted(index, key=lambda row: row["slide_id"])] == [
        "20", "30", "20",
    ]  # fmt: skip
    again = tcssa("encode", tmp_path / "bags", *command, "--overwrite").json
    assert again["num_renewed"] == 3
    assert len([name for name in memory.store if name.endswith(".parquet")]) == 1


def test_predictions_go_to_an_address_and_are_not_made_twice(
    memory: Any, tmp_path: Path, tcssa: Run, trained: Path
) -> None:
    command = ("predict", trained / "run", trained / "features", "--device", "cpu", "--json")
    here = tcssa(*command, "--out", tmp_path / "here").json
    out = ("--out", "memory://bucket/predicted")
    there = tcssa(*command, *out).json
    assert there["folder"] == "memory://bucket/predicted"
    again = tcssa(*command, *out).json
    assert again["num_done_before"] == len(here["slides"])
    for file in (path for path in (tmp_path / "here").rglob("*") if path.is_file()):
        name = file.relative_to(tmp_path / "here").as_posix()
        stands = memory.cat(f"/bucket/predicted/{name}")
        assert stands == file.read_bytes() or file.suffix == ".html", name
    refused = tcssa("predict", trained / "run", tmp_path / "S.svs", *out)
    assert refused.code == 2
    assert "extract the slides first" in refused.stderr


def test_what_is_not_done_at_addresses_is_refused_in_a_line(
    memory: Any, tmp_path: Path, tcssa: Run
) -> None:
    write_slide(tmp_path / "S.tif", stained(230, 230))
    out = "memory://bucket/job"
    ray = tcssa("extract", tmp_path / "S.tif", "--out", out, "--engine", "ray")
    assert (ray.code, "--engine ray writes to a folder" in ray.stderr) == (2, True)
    verified = tcssa("verify", out)
    assert (verified.code, "as with aws s3 sync" in verified.stderr) == (2, True)
    none = tcssa("status", out)
    assert (none.code, f"{out}: no job of tcssa" in none.stderr) == (1, True)
