"""Slides in S3 to features in S3 to slots in S3, over HTTP to a server of this machine (moto's)."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from command_line import Run
from factories import make_compressor
from s3_server import s3_bucket
from slide_files import stained, write_slide

from tcssa.compressor import save_compressor

# aiobotocore's own warnings are not ours to mend
pytestmark = [pytest.mark.s3, pytest.mark.filterwarnings("ignore")]

GRID = "20x_224px_0px_overlap"
FEATURES = f"{GRID}/features_efficientnet_lite0"
NUM_SLIDES = 4

# Runs tcssa, and is killed as it begins to put an object of a name, or once that object stands.
KILLED = """
import os, signal, sys
import s3fs
from tcssa_cli.main import main

when, name = sys.argv.pop(1), sys.argv.pop(1)
put = s3fs.S3FileSystem._put_file


async def killed(self, lpath, rpath, **how):
    if when == "before" and rpath.endswith(name):
        os.kill(os.getpid(), signal.SIGKILL)
    await put(self, lpath, rpath, **how)
    if rpath.endswith(name):
        os.kill(os.getpid(), signal.SIGKILL)


s3fs.S3FileSystem._put_file = killed
main()
"""


# Runs tcssa on a host of a name, tells of each object of a slide that it puts, and dies before the
# first one where it is to.
HOST = """
import os, signal, socket, sys
import s3fs
from tcssa.files import lock_objects
from tcssa_cli.main import main

host, dies, stale_s = sys.argv.pop(1), sys.argv.pop(1) == "dies", float(sys.argv.pop(1))
socket.gethostname = lambda: host
lock_objects.STALE_S = stale_s
put = s3fs.S3FileSystem._put_file


async def told(self, lpath, rpath, **how):
    if "features_" in rpath and rpath.endswith((".h5", ".parquet")):
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        print(rpath, file=sys.stderr, flush=True)
    await put(self, lpath, rpath, **how)


s3fs.S3FileSystem._put_file = told
main()
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    with s3_bucket() as files:
        yield files


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def killed(when: str, name: str, *arguments: object) -> None:
    """Run tcssa in a process that is killed before or after it puts an object."""
    command = [sys.executable, "-c", KILLED, when, name, *map(str, arguments)]
    died = subprocess.run(command, check=False, env=os.environ, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr


def done(tcssa: Run, *arguments: object) -> dict[str, Any]:
    """Run tcssa, which ends well."""
    outcome = tcssa(*map(str, arguments), "--json")
    assert outcome.code == 0, outcome.stderr
    return outcome.json


def objects(bucket: Any, prefix: str) -> dict[str, Any]:
    """What stands below a prefix, by name: size, time and tag; but for claims."""
    found = bucket.find(f"bucket/{prefix}", detail=True)
    return {
        name.removeprefix(f"bucket/{prefix}/"): (each["ETag"], each["LastModified"])
        for name, each in found.items()
        if "/." not in name
    }


def fetched(bucket: Any, prefix: str, to: Path) -> Path:
    bucket.get(f"bucket/{prefix}", str(to), recursive=True)
    return to


def content(path: Path) -> Any:
    """Everything in a file, but for the folder that an HDF5 file of TRIDENT's layout names, and
    the times in an index."""
    if path.suffix == ".csv":
        rows = csv.DictReader(path.read_text().splitlines())
        return [{**row, "file_mtime_ns": None} for row in rows]
    if path.suffix != ".h5" or path.parent.name == "slide_features_tcssa":
        return path.read_bytes()
    with h5py.File(path) as file:
        return {
            name: (file[name][()].tobytes(), _attributes(file[name].attrs)) for name in sorted(file)
        }


def _attributes(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in attributes.items() if name != "savetodir"}


def require_same(found: Path, expected: Path) -> None:
    """The same files with the same content; claims of a dead process may be left, hidden."""
    names = [
        sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file()
        )
        for folder in (found, expected)
    ]
    assert names[0] == names[1]
    for name in names[0]:
        assert content(found / name) == content(expected / name), name


def write_slides(folder: Path, bucket: Any) -> list[str]:
    for n in range(NUM_SLIDES):
        write_slide(folder / f"S{n}.tif", stained(460, 460 + 230 * n, seed=n))
        bucket.put(str(folder / f"S{n}.tif"), f"bucket/slides/S{n}.tif")
    return [f"s3://bucket/slides/S{n}.tif" for n in range(NUM_SLIDES)]


def test_a_round_trip_that_is_killed_three_times_ends_as_a_local_run(
    bucket: Any, tmp_path: Path, tcssa: Run
) -> None:
    (tmp_path / "slides").mkdir()
    slides = write_slides(tmp_path / "slides", bucket)
    save_compressor(make_compressor(feature_dim=1280), tmp_path / "model.safetensors")
    extract = ("extract", *slides, "--tissue", "all", "--out")
    killed("before", f"{FEATURES}/S0.h5", *extract, "s3://bucket/job")
    before = objects(bucket, "job")
    assert f"{GRID}/patches/S0_patches.h5" in before
    assert not features_in(before)
    killed("after", f"{FEATURES}/S1.h5", *extract, "s3://bucket/job")
    before = objects(bucket, "job")
    assert len(features_in(before)) == 2
    assert f"{FEATURES}/config.resolved.yaml" not in before
    report = done(tcssa, *extract, "s3://bucket/job")
    assert [slide["status"] for slide in report["slides"]] == ["skipped"] * 2 + ["done"] * 2
    assert report["features"] == f"s3://bucket/job/{FEATURES}"
    after = objects(bucket, "job")
    assert {name: after[name] for name in features_in(before)} == features_in(before)
    done(tcssa, *extract, tmp_path / "local")
    require_same(fetched(bucket, "job", tmp_path / "job"), tmp_path / "local")

    encode = ("encode", f"s3://bucket/job/{FEATURES}", "--model", tmp_path / "model.safetensors",
              "--device", "cpu", "--out")  # fmt: skip
    killed("after", "/S0.h5", *encode, "s3://bucket/encoded")
    before = objects(bucket, "encoded")
    assert "slide_features_tcssa/S0.h5" in before
    assert "index.csv" not in before
    done(tcssa, *encode, "s3://bucket/encoded")
    after = objects(bucket, "encoded")
    assert {name: after[name] for name in before} == before
    done(tcssa, *encode, tmp_path / "encoded")
    require_same(fetched(bucket, "encoded", tmp_path / "there"), tmp_path / "encoded")


def on_host(
    name: str, tmp_path: Path, *arguments: object, dies: bool = False, stale_s: float = 120.0
) -> Any:
    """Start tcssa as another host would, whose processes and disk nobody else sees."""
    told = "dies" if dies else "lives"
    return subprocess.Popen(
        [sys.executable, "-c", HOST, name, told, str(stale_s), *map(str, arguments), "--json"],
        env={**os.environ, "TCSSA_CACHE": str(tmp_path / name)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: Any) -> tuple[dict[str, Any], list[str]]:
    """Wait for a host; return its report, and the names of the objects that it put."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return json.loads(out), [
        line.rpartition("/")[2] for line in err.splitlines() if line.startswith("bucket/")
    ]


def test_a_killed_hosts_slide_is_left_to_it_until_it_gave_no_sign_of_life_and_made_once(
    bucket: Any, tmp_path: Path, tcssa: Run
) -> None:
    (tmp_path / "slides").mkdir()
    slides = write_slides(tmp_path / "slides", bucket)
    save_compressor(make_compressor(feature_dim=1280), tmp_path / "model.safetensors")
    how = ("--tissue", "all", "--compress", tmp_path / "model.safetensors", "--device", "cpu",
           "--out")  # fmt: skip
    out = "s3://bucket/divided"
    dead = on_host("a", tmp_path, "extract", *slides[:2], *how, out, dies=True)
    dead.communicate()
    assert dead.returncode == -signal.SIGKILL
    first, puts = ended(on_host("b", tmp_path, "extract", *slides, *how, out))
    assert [slide["status"] for slide in first["slides"]] == ["taken"] * 2 + ["done"] * 2
    assert "on a" in first["slides"][0]["reason"]
    again, more = ended(on_host("c", tmp_path, "extract", *slides, *how, out, stale_s=0.5))
    assert [slide["status"] for slide in again["slides"]] == ["done"] * 2 + ["skipped"] * 2
    # features and slots of each slide once
    assert sorted([*puts, *more]) == sorted(f"S{n}.h5" for n in range(NUM_SLIDES) for _ in "ab")
    done(tcssa, "extract", *slides, *how, tmp_path / "local")
    fetched(bucket, "divided", tmp_path / "job")
    for folder in (tmp_path / "job", tmp_path / "local"):  # it names the host's cache
        next(folder.rglob("config.resolved.yaml")).unlink()
    require_same(tmp_path / "job", tmp_path / "local")


@pytest.mark.parametrize("to", ["hdf5", "parquet"])
def test_hosts_that_encode_to_one_bucket_make_each_slide_once_and_one_index_of_all(
    bucket: Any, tmp_path: Path, tcssa: Run, to: str
) -> None:
    (tmp_path / "bags").mkdir()
    for n in range(60):
        rows = np.random.default_rng(n).normal(size=(30, 16)).astype(np.float32)
        np.save(tmp_path / "bags" / f"s{n}.npy", rows)
    (tmp_path / "bags" / "broken.npy").write_bytes(b"nothing")
    save_compressor(make_compressor(), tmp_path / "model.safetensors")
    command = ("encode", tmp_path / "bags", "--model", tmp_path / "model.safetensors",
               "--device", "cpu", "--to", to, "--out")  # fmt: skip
    hosts = [on_host(name, tmp_path, *command, f"s3://bucket/two-{to}") for name in "ab"]
    told, puts = [], []
    for host in hosts:
        out, err = host.communicate(timeout=240)
        assert host.returncode in (0, 1), err
        told.append(json.loads(out))
        puts += [line for line in err.splitlines() if line.startswith("bucket/")]
    assert sum(each["num_encoded"] for each in told) == 60
    if to == "hdf5":
        assert len(puts) == len(set(puts)) == 60
    there = fetched(bucket, f"two-{to}", tmp_path / "there")
    rows_of = list(csv.DictReader((there / "index.csv").read_text().splitlines()))
    assert sorted(row["slide_id"] for row in rows_of) == sorted(f"s{n}" for n in range(60))
    failed = list(csv.DictReader((there / "failed.csv").read_text().splitlines()))
    assert [Path(row["path"]).name for row in failed] == ["broken.npy"]
    assert not [name for name in bucket.find(f"bucket/two-{to}") if "tcssa-lock" in name]
    tcssa(*map(str, command), str(tmp_path / "local"))
    if to == "hdf5":
        require_same(there, tmp_path / "local")


def features_in(names: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in names.items() if name.startswith(f"{FEATURES}/S")}


@pytest.mark.parametrize("more", [("--to", "hdf5", "--workers", "2"), ("--to", "parquet")])
def test_a_rerun_from_another_host_puts_nothing_but_the_index(
    bucket: Any,
    tmp_path: Path,
    tcssa: Run,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
) -> None:
    to = more[1]
    for n in range(3):
        rows = np.random.default_rng(n).normal(size=(30, 16)).astype(np.float32)
        np.save(tmp_path / f"s{n}.npy", rows)
        bucket.put(str(tmp_path / f"s{n}.npy"), f"bucket/features/s{n}.npy")
    save_compressor(make_compressor(), tmp_path / "model.safetensors")
    command = ("encode", "s3://bucket/features", "--model", tmp_path / "model.safetensors",
               "--device", "cpu", "--out", f"s3://bucket/{to}", *more)  # fmt: skip
    assert done(tcssa, *command)["num_encoded"] == 3
    before = objects(bucket, to)
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path / "another"))
    again = done(tcssa, *command)
    assert (again["num_skipped"], again["folder"]) == (3, f"s3://bucket/{to}")
    after = objects(bucket, to)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {"index.csv"}
    (status,) = done(tcssa, "status", f"s3://bucket/{to}")["jobs"]
    assert (status["num_done"], status["results"]) == (3, f"s3://bucket/{to}/slide_features_tcssa")
    assert done(tcssa, "inspect", f"s3://bucket/{to}")["facts"]["slides"] == 3
