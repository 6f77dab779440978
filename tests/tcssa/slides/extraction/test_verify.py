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
from tcssa.features.convert import convert
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


def as_trident(path: Path, patches: Path) -> None:
    """Features as TRIDENT makes them of our patches, whose attributes it copies to its corners."""
    path.parent.mkdir(exist_ok=True)
    with h5py.File(patches) as ours, h5py.File(path, "w") as file:
        corners = ours["coords"]
        coords = file.create_dataset("coords", data=corners[:])
        coords.attrs.update(corners.attrs)
        features = file.create_dataset("features", data=np.ones((len(corners), 8), np.float32))
        features.attrs.update(name=path.stem, savetodir=str(path.parent), encoder="tiny")


def test_what_trident_made_of_our_patches_is_sound(job: Path) -> None:
    grid = job / FEATURES.partition("/")[0]
    name = find_bags([job / FEATURES])[0].slide_id
    path = grid / f"features_tiny/{name}.h5"
    as_trident(path, grid / f"patches/{name}_patches.h5")
    report = verify(job, repair=True)
    assert (report.num_features, report.faults, report.without_grid) == (6, [], [])
    with h5py.File(path, "r+") as file:
        file["coords"][0] += 1
    (fault,) = verify(job).faults
    assert "row 0 is another patch" in fault.reason


@pytest.mark.parametrize("grid", [".", "20x_224px_0px_overlap"])
def test_a_conversion_is_sound(finished_job: Path, tmp_path: Path, grid: str) -> None:
    """Ours, through a layout that forgets, and of a file that knows no places."""
    job, stamp = tmp_path / "job", tmp_path / "stamp"
    convert([finished_job], "stamp", stamp)
    convert([finished_job], "trident", job / grid)
    convert([stamp], "trident", tmp_path / "back" / grid)
    np.save(tmp_path / "s.npy", np.ones((3, 4), np.float32))
    convert([tmp_path / "s.npy"], "trident", job / grid)
    report = verify(job)
    assert (report.num_features, report.faults) == (6, [])
    assert [path.name for path in report.without_grid] == ["s.h5"]
    report = verify(tmp_path / "back")
    assert (report.num_features, report.faults, report.without_grid) == (5, [], [])
    with h5py.File(next(job.rglob("features_eff*/*.h5")), "r+") as file:
        not_finite(file)
    assert len(verify(job).faults) == 1


def test_a_folder_without_features_is_no_job(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no features and no slots"):
        verify(tmp_path)
