"""Processes that are given the same archive share it: claims, and the tables that they write."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from factories import make_compressor, write_bag

from tcssa.compressor import save_compressor
from tcssa.features import BagRef, find_bags
from tcssa.files.locks import Owner
from tcssa_runtimes import EncodeOptions, EncodeReport, encode, open_runtime
from tcssa_runtimes.archive.archive_index import IndexRows, read_index
from tcssa_runtimes.archive.archive_kind import ArchiveKind
from tcssa_runtimes.archive.claims import Claims
from tcssa_runtimes.archive.done_slides import DoneSince
from tcssa_runtimes.archive.open_archive import open_archive
from tcssa_runtimes.archive.slot_parts import drop_slides, find_parts
from tcssa_runtimes.archive.stored_slots import EncodedFacts

ENCODE = """
import sys
from pathlib import Path
from tcssa_runtimes import EncodeOptions, encode, open_runtime

model, bags, out = map(Path, sys.argv[1:4])
options = EncodeOptions(to=sys.argv[4])
print(encode([bags], out, open_runtime(model, device="cpu"), options=options).num_encoded)
"""


CLAIM = """
import sys, time
from pathlib import Path
from tcssa.files.locks import FolderLocks

with FolderLocks(Path(sys.argv[1])) as locks:
    assert not any(locks.take(name) for name in sys.argv[2:])
    print("claimed", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_compressor(make_compressor(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def write_bags(tmp_path: Path, number: int) -> Path:
    for i in range(number):
        write_bag(tmp_path / "bags" / f"s{i:03}.h5", 9 + i % 5, seed=i)
    return tmp_path / "bags"


def run(model: Path, tmp_path: Path, **options: Any) -> EncodeReport:
    runtime = open_runtime(model, device="cpu")
    return encode([tmp_path / "bags"], tmp_path / "out", runtime, options=EncodeOptions(**options))


def start(model: Path, tmp_path: Path, to: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", ENCODE, model, tmp_path / "bags", tmp_path / "out", to]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}


def claim_elsewhere(out: Path, slide_id: str) -> Path:
    lock = out / f".{slide_id}.tcssa-lock"
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 7, "token": "t"}))
    return lock


def names_in(index: Path) -> list[str]:
    return sorted(row["slide_id"] for row in read_index(index))


@pytest.mark.parametrize("to", ["hdf5", "parquet"])
def test_two_processes_by_hand_encode_each_slide_once(
    model: Path, tmp_path: Path, to: ArchiveKind
) -> None:
    names = [path.stem for path in sorted(write_bags(tmp_path, 120).iterdir())]
    other = start(model, tmp_path, to)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".*.tcssa-lock")):
        assert other.poll() is None, "it ended before its first claim was seen"
        assert time.monotonic() < deadline
    ours = run(model, tmp_path, to=to)
    theirs = int(other.communicate(timeout=120)[0])
    assert ours.num_encoded + theirs == len(names)
    assert theirs > 0
    assert names_in(tmp_path / "out" / "index.csv") == names
    assert sorted(open_archive(tmp_path / "out").slide_ids) == names
    assert not list((tmp_path / "out").rglob(".*"))
    assert run(model, tmp_path, to=to).num_skipped == len(names)


def test_parts_that_another_call_removes_or_rewrites_hold_nothing_done(
    model: Path, tmp_path: Path
) -> None:
    bags = find_bags([write_bags(tmp_path, 2)])
    out, runtime = tmp_path / "out", open_runtime(model, device="cpu")
    since = DoneSince(EncodeOptions(to="parquet").how(out), runtime)
    run(model, tmp_path, to="parquet")
    done = since.among(bags)
    assert len(done) == 2
    (part,) = find_parts(out)
    drop_slides(out, [bags[0].slide_id])
    assert [*since.among(bags)] == [bags[1]]
    part.unlink()
    assert since.among(bags) == {}
    rows = IndexRows()
    assert not rows.add(done[bags[0]])
    assert len(rows) == 0


def test_claims_of_a_killed_process_are_free_at_once(model: Path, tmp_path: Path) -> None:
    write_bags(tmp_path, 10)
    out = tmp_path / "out"
    command = [sys.executable, "-c", CLAIM, out, *(f"s{i:03}" for i in range(5))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    process.kill()
    process.communicate()
    assert len(list(out.glob(".*.tcssa-lock"))) == 5
    report = run(model, tmp_path)
    assert (report.num_encoded, report.taken) == (10, [])
    assert not list(out.rglob(".*"))


def test_a_slide_of_another_host_is_passed_over_and_its_failure_stays_named(
    model: Path, tmp_path: Path
) -> None:
    bags, out = write_bags(tmp_path, 3), tmp_path / "out"
    (bags / "broken.h5").write_bytes(b"no HDF5")
    run(model, tmp_path)
    os.utime(bags / "s001.h5", (1, 1))
    write_bag(bags / "s001.h5", 30, seed=9)  # to be encoded again
    claim_elsewhere(out, "s001")
    claim_elsewhere(out, "broken")
    report = run(model, tmp_path)
    assert report.taken == [bags / "broken.h5", bags / "s001.h5"]
    assert (report.num_encoded, report.num_skipped, report.failed) == (0, 2, [])
    assert names_in(out / "index.csv") == ["s000", "s002"]  # until who has it says that it is done
    with (out / "failed.csv").open() as stream:
        assert [row["path"] for row in csv.DictReader(stream)] == [str(bags / "broken.h5")]


def test_what_was_done_since_the_list_was_made_is_not_done_again(
    model: Path, tmp_path: Path
) -> None:
    refs = find_bags([write_bags(tmp_path, 12)])
    runtime = open_runtime(model, device="cpu")
    how = EncodeOptions().how(tmp_path / "out")
    taken: list[str] = []
    done: list[str] = []

    def on_taken(bag: BagRef, owner: Owner) -> None:
        taken.append(bag.slide_id)

    def on_done(bag: BagRef, facts: EncodedFacts) -> None:
        done.append(facts.name)

    with Claims(how, runtime) as mine, Claims(how, runtime) as other:
        claimed = mine.of(refs, on_taken, on_done)
        first = next(claimed)
        assert [bag.slide_id for bag in other.of(refs[:9], on_taken, on_done)] == ["s008"]
        assert taken == [ref.slide_id for ref in refs[:8]]  # eight at a time
        mine.give_back(first)
        encode([first.path], tmp_path / "out", runtime)
        assert list(other.of([first], on_taken, on_done)) == []
        assert done == ["s000"]
