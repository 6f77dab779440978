"""Slides and features in S3, over HTTP to a server of this machine (moto's)."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cohorts import small_run, write_cohort
from exports import Exported
from s3_server import s3_bucket
from slide_files import stained, write_slide

from tcssa.features import find_bags, read_features
from tcssa.features.remote_features import local_features
from tcssa.mil.training.train import train
from tcssa.reporter import Silent
from tcssa.slides import SlideFile
from tcssa.slides.image.remote import SlideCache
from tcssa_runtimes import encode, open_runtime

# aiobotocore's own warnings are not ours to mend
pytestmark = [pytest.mark.s3, pytest.mark.filterwarnings("ignore")]

# Fetches features and is killed after so many reads.
KILLED = """
import os, signal, sys
from pathlib import Path
import tcssa.files.remote_file as remote_file
from tcssa.features.remote_features import local_features
from tcssa.reporter import Silent
import s3fs

remote_file._CHUNK_BYTES = 1 << 20
reads, original = [], s3fs.S3File.read


def read(self, *size):
    reads.append(1)
    if len(reads) > int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *size)


s3fs.S3File.read = read
local_features(sys.argv[1], Silent())
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    with s3_bucket() as files:
        yield files


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_slide_in_s3_is_copied_whole(bucket: Any, tmp_path: Path) -> None:
    here = write_slide(tmp_path / "here.tif", stained(500, 500))
    bucket.put(str(here), "bucket/slides/there.tif")
    slide = SlideFile.at("s3://bucket/slides/there.tif")
    with SlideCache(tmp_path / "cache", 10**9) as cache, slide.local(cache) as copy:
        assert copy.path.read_bytes() == here.read_bytes()


def test_a_cohort_in_s3_trains_as_one_on_the_disk_does(
    bucket: Any, tmp_path: Path, cache: Path
) -> None:
    cohort = write_cohort(tmp_path)
    assert cohort.features is not None
    bucket.put(str(cohort.features), "bucket/cohort", recursive=True)
    remote = cohort.model_copy(update={"features": Path("s3://bucket/cohort")})
    pooled = [
        train(small_run(given, epochs=2), tmp_path / name, Silent()).pooled
        for name, given in (("there", remote), ("here", cohort))
    ]
    assert pooled[0] == pooled[1]


def test_features_in_s3_are_encoded(
    bucket: Any, tmp_path: Path, cache: Path, exported: Exported
) -> None:
    for seed in range(2):
        rows = np.random.default_rng(seed).normal(size=(30, 16))
        path = tmp_path / f"s{seed}.npy"
        np.save(path, rows.astype(np.float32))
        bucket.put(str(path), f"bucket/features/{path.name}")
    runtime = open_runtime(exported())
    report = encode([Path("s3://bucket/features")], tmp_path / "out", runtime)
    assert (report.num_encoded, report.num_patches) == (2, 60)


def test_a_fetch_that_is_killed_three_times_ends_whole(
    bucket: Any, tmp_path: Path, cache: Path
) -> None:
    """What a kill leaves is taken for no feature file."""
    whole = {f"s{n}": np.random.default_rng(n).normal(size=(500, 1024)) for n in range(4)}
    for name, rows in whole.items():
        np.save(tmp_path / f"{name}.npy", rows.astype(np.float32))
        bucket.put(str(tmp_path / f"{name}.npy"), f"bucket/killed/{name}.npy")
    for reads in (2, 4, 5):
        command = [sys.executable, "-c", KILLED, "s3://bucket/killed", str(reads)]
        died = subprocess.run(command, check=False, env=os.environ, capture_output=True)
        assert died.returncode == -signal.SIGKILL, died.stderr
        for path in cache.rglob("*.npy"):
            assert np.array_equal(np.load(path), whole[path.stem].astype(np.float32))
    folder = local_features("s3://bucket/killed", Silent())
    found = {ref.slide_id: read_features(ref) for ref in find_bags([folder])}
    assert found.keys() == whole.keys()
    for name, rows in found.items():
        assert np.array_equal(rows, whole[name].astype(np.float32))
    assert not list(folder.rglob("*.part"))
