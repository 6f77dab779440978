import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from shared_data import require_shared
from slide_files import FEATURES, draw_slides

from tcssa.errors import MissingDataError
from tcssa.features import find_bags
from tcssa.slides import extract
from tcssa.slides.extraction.verify import verify


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw_slides(tmp_path_factory.mktemp("slides"), 5)


@pytest.fixture(scope="module")
def finished_job(slides: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job of five slides; not to be written to."""
    job = tmp_path_factory.mktemp("job")
    assert extract(slides, job).count("done") == 5
    return job


@pytest.fixture
def job(finished_job: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_job, tmp_path / "job")
    return tmp_path / "job"


def test_a_finished_job_is_sound(finished_job: Path) -> None:
    report = verify(finished_job)
    assert (report.num_features, report.faults, report.leftovers) == (5, [], [])
    assert report.num_patches > 50


def not_finite(file: h5py.File) -> None:
    file["features"][7, 3] = np.nan


def one_row_less(file: h5py.File) -> None:
    file["features"].resize(len(file["features"]) - 1, axis=0)


def one_patch_less(file: h5py.File) -> None:
    for name in ("features", "coords"):
        file[name].resize(len(file[name]) - 1, axis=0)


def another_order(file: h5py.File) -> None:
    file["coords"][:] = file["coords"][:][::-1]


def not_complete(file: h5py.File) -> None:
    file["features"].attrs["complete"] = False
    file["coords"].attrs["complete"] = False


def no_grid(file: h5py.File) -> None:
    del file["coords"].attrs["patch_size"]


def other_params(file: h5py.File) -> None:
    for name in ("features", "coords"):
        file[name].attrs["params"] = json.dumps({"mpp": 1.0})


def wrong_count(file: h5py.File) -> None:
    for name in ("features", "coords"):
        file[name].attrs["n_failed"] = 3


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (not_finite, "row 7 is not finite"),
        (one_row_less, "rows of features, but"),
        (one_patch_less, "patches.h5 leaves"),
        (another_order, "row 0 is another patch"),
        (not_complete, "was not written to its end"),
        (no_grid, "lacks the attributes patch_size"),
        (other_params, "not those that its hash was made of"),
        (wrong_count, "lists 0 patches that could not be read, and counts 3"),
    ],
)
def test_every_kind_of_fault_is_named(
    job: Path, damage: Callable[[h5py.File], None], said: str
) -> None:
    path = find_bags([job])[2].path
    with h5py.File(path, "r+") as file:
        damage(file)
    (fault,) = verify(job).faults
    assert job / fault.path == path
    assert said in fault.reason


def test_faulty_files_are_moved_aside_and_made_again(job: Path, slides: list[Path]) -> None:
    paths = [bag.path for bag in find_bags([job])]
    before = [path.read_bytes() for path in paths]
    paths[0].write_bytes(before[0][:4000])
    with h5py.File(paths[1], "r+") as file:
        not_finite(file)
    (job / "20x_224px_0px_overlap/patches" / f"{paths[2].stem}_patches.h5").unlink()
    assert len(verify(job).faults) == 3
    assert all(path.exists() for path in paths)
    assert verify(job, repair=True).num_requeued == 3
    assert (job / "faulty" / FEATURES / paths[0].name).exists()
    assert extract(slides, job).count("done") == 3
    assert not verify(job).faults


def test_what_a_killed_run_left_is_told(job: Path) -> None:
    (job / FEATURES / ".x.h5.host.1.tcssa-tmp").write_bytes(b"half")
    assert [path.name for path in verify(job).leftovers] == [".x.h5.host.1.tcssa-tmp"]


def test_genuine_jobs_of_trident_are_checked_too() -> None:
    report = verify(require_shared("interop/trident/job"))
    assert report.num_features > 0
    assert not report.faults


def test_a_folder_without_features_is_no_job(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no features and no slots"):
        verify(tmp_path)
