import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from shared_data import require_shared
from slide_files import FEATURES, damage_tile, glass, stained, write_slide

from tcssa.errors import DiskFullError, FileError, MissingDataError, UnknownNameError, UsageError
from tcssa.features import find_bags, open_bag
from tcssa.features.guarded import GuardedFile
from tcssa.files import atomic
from tcssa.reporter import Silent
from tcssa.slides import ExtractOptions, ExtractSettings, SlideFile, extract
from tcssa.slides.extraction.pipeline import ahead


def read_bag(
    job: Path, slide_id: str, folder: str = FEATURES
) -> tuple[NDArray[Any], NDArray[Any], dict[str, Any]]:
    with open_bag(job / folder / f"{slide_id}.h5") as bag:
        return bag.read(), bag.read_coords(), bag.attributes


def leftovers(job: Path) -> list[Path]:
    return [path for path in job.rglob(".*") if path.is_file()]


def test_a_real_slide_becomes_a_bag_at_its_true_resolution(cmu_job: Path) -> None:
    features, coords, attributes = read_bag(cmu_job, "cmu-1-small-region")
    assert features.shape == (len(coords), 1280)
    assert 40 < len(coords) < 80
    assert attributes["mpp_level0"] == 0.499
    assert attributes["mpp_target"] == 0.5
    assert attributes["patch_size_level0"] == 224
    assert attributes["mpp_effective"] == pytest.approx(0.499)
    assert attributes["level0_magnification"] == 20
    step = 224 * 0.5 / 0.499
    columns = coords[:, 0] / step
    assert np.abs(columns - np.round(columns)).max() * step <= 0.5
    assert (np.lexsort((coords[:, 0], coords[:, 1])) == np.arange(len(coords))).all()


def test_every_file_stands_where_trident_puts_it(cmu_job: Path) -> None:
    for name in (
        "thumbnails/{}.jpg",
        "contours/{}.jpg",
        "contours_geojson/{}.geojson",
        "20x_224px_0px_overlap/patches/{}_patches.h5",
        "20x_224px_0px_overlap/features_efficientnet_lite0/{}.h5",
    ):
        assert (cmu_job / name.format("cmu-1-small-region")).is_file()
    assert not leftovers(cmu_job)
    assert not (cmu_job / "failures.csv").exists()
    assert [bag.slide_id for bag in find_bags([cmu_job])] == ["cmu-1-small-region"]


def test_files_carry_what_tridents_do_and_ours(cmu_job: Path) -> None:
    genuine = require_shared("interop/trident/job/20x_256px_0px_overlap")
    pairs = {
        "features_resnet18_random/CMU-1-Small-Region.h5": f"{FEATURES}/cmu-1-small-region.h5",
        "patches/CMU-1-Small-Region_patches.h5": (
            "20x_224px_0px_overlap/patches/cmu-1-small-region_patches.h5"
        ),
    }
    ours = {"mpp_level0", "mpp_target", "mpp_effective", "tcssa_version", "n_failed", "complete"}
    for theirs, mine in pairs.items():
        with h5py.File(genuine / theirs) as expected, h5py.File(cmu_job / mine) as found:
            for name, dataset in expected.items():
                assert found[name].dtype == dataset.dtype
                assert set(dataset.attrs) | ours <= set(found[name].attrs)
                for key, value in dataset.attrs.items():
                    assert type(found[name].attrs[key]) is type(value), (name, key)
            for key in ("level0_width", "level0_height", "level0_magnification", "overlap"):
                assert found["coords"].attrs[key] == expected["coords"].attrs[key]


def test_outlines_and_pictures_show_the_slide(cmu_job: Path) -> None:
    text = (cmu_job / "contours_geojson/cmu-1-small-region.geojson").read_text()
    rings = [f["geometry"]["coordinates"][0] for f in json.loads(text)["features"]]
    points = np.concatenate([np.array(ring) for ring in rings])
    assert (points >= 0).all()
    assert (points.max(0) <= [2220, 2968]).all()
    overview = cv2.imread(str(cmu_job / "contours/cmu-1-small-region.jpg"))
    assert 1000 <= max(overview.shape) <= 2400
    assert overview.shape[0] / overview.shape[1] == pytest.approx(2967 / 2220, rel=0.01)


def test_patches_of_another_size_are_resized_for_the_encoder(cmu: Path, tmp_path: Path) -> None:
    settings = ExtractSettings(patch_size=512, overlap=64, mpp=0.265, min_tissue=0.9)
    report = extract([cmu], tmp_path, settings)
    assert report.features_folder.parent.name == "37.74x_512px_64px_overlap"
    features, coords, attributes = read_bag(
        tmp_path, "cmu-1-small-region", "37.74x_512px_64px_overlap/features_efficientnet_lite0"
    )
    assert len(features) == len(coords) > 0
    assert attributes["patch_size_level0"] == round(512 * 0.265 / 0.499)
    assert attributes["encoder_input_px"] == 224
    assert attributes["target_magnification"] == 37.74


def test_a_slide_without_resolution_fails_and_works_with_it_given(tmp_path: Path) -> None:
    tcga = require_shared("slides/tcga-cr-7395-01a-01-ts1.svs")
    boxes = require_shared("slides/boxes.tiff")
    report = extract([tcga, boxes], tmp_path)
    assert [slide.status for slide in report.slides] == ["failed", "failed"]
    assert "--slide-mpp" in report.slides[0].reason
    assert "352.778" in report.slides[1].reason
    report = extract([tcga], tmp_path, ExtractSettings(slide_mpp=0.25))
    assert report.count("done") == 1
    assert report.slides[0].mpp == 0.25
    assert read_bag(tmp_path, tcga.stem)[2]["mpp_source"] == "given"
    with (tmp_path / "failures.csv").open() as stream:
        assert [row["slide_id"] for row in csv.DictReader(stream)] == ["boxes"]


def test_bad_slides_are_reported_and_the_others_go_on(lung: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    (folder / "a_text.svs").write_text("no slide")
    (folder / "b_cut.tif").write_bytes(lung[0].read_bytes()[:100_000])
    shutil.copyfile(lung[0], folder / "c_good.tif")
    gone = SlideFile(folder / "d_gone.svs", "d_gone")
    reporter = Silent()
    report = extract([gone, folder], tmp_path / "job", reporter=reporter)
    status = {slide.slide_id: slide.status for slide in report.slides}
    assert status == {"a_text": "failed", "b_cut": "failed", "c_good": "done", "d_gone": "failed"}
    assert len(reporter.warnings) == 3
    with (tmp_path / "job/failures.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["slide_id"] for row in rows} == {"a_text", "b_cut", "d_gone"}
    assert all(row["reason"] for row in rows)


def test_a_damaged_tile_drops_its_patches_and_no_other(
    cmu: Path, cmu_job: Path, tmp_path: Path
) -> None:
    path = tmp_path / cmu.name
    shutil.copyfile(cmu, path)
    path.chmod(0o644)
    column, row = 4, 7
    tile = damage_tile(path, column=column, row=row)
    reporter = Silent()
    report = extract([path], tmp_path / "job", ExtractSettings(max_failed=0.2), reporter)
    (slide,) = report.slides
    assert slide.status == "done"

    whole, places, attributes = read_bag(cmu_job, cmu.stem)
    size = attributes["patch_size_level0"]
    x, y = places.T
    hit = (x < (column + 1) * tile) & (x + size > column * tile)
    hit &= (y < (row + 1) * tile) & (y + size > row * tile)
    features, coords, attributes = read_bag(tmp_path / "job", cmu.stem)
    assert slide.num_failed == attributes["n_failed"] == hit.sum() > 0
    assert slide.num_patches == len(places) - hit.sum()
    assert coords.tolist() == places[~hit].tolist()
    assert np.abs(features - whole[~hit]).max() < 1e-5
    with h5py.File(tmp_path / "job" / FEATURES / f"{cmu.stem}.h5") as file:
        assert file["failed_coords"][:].tolist() == places[hit].tolist()
    assert any("could not be read" in warning for warning in reporter.warnings)

    marked = cv2.imread(str(tmp_path / "job/contours" / f"{cmu.stem}.jpg")).astype(int)
    scale = attributes["level0_width"] / marked.shape[1]
    red = marked[..., 2] - marked[..., :2].max(axis=2) > 80  # of a box and its cross
    for corner in places.tolist():
        left, top = ((np.array(corner) + 0.25 * size) / scale).astype(int)
        side = int(0.5 * size / scale)
        crossed = red[top : top + side, left : left + side].mean() > 0.03
        assert crossed == (corner in places[hit].tolist()), corner


def test_too_many_damaged_patches_fail_the_slide_as_a_whole(cmu: Path, tmp_path: Path) -> None:
    path = tmp_path / cmu.name
    shutil.copyfile(cmu, path)
    path.chmod(0o644)
    damage_tile(path, column=4, row=7)
    report = extract([path], tmp_path / "job")
    assert report.count("failed") == 1
    assert "could not be read" in report.slides[0].reason
    assert not list((tmp_path / "job" / FEATURES).glob("*.h5"))


def test_a_slide_whose_overview_was_lost_is_done_with_a_warning(
    cmu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / cmu.name
    path.write_bytes(cmu.read_bytes())
    damage_tile(path, column=4, row=7)

    def lost(picture: Path, error: type[FileError]) -> None:
        raise error(picture, "there is no such file")

    monkeypatch.setattr("tcssa.slides.extraction.slide_loop.read_rgb", lost)
    reporter = Silent()
    report = extract([path], tmp_path / "job", ExtractSettings(max_failed=0.2), reporter)
    assert report.count("done") == 1
    assert any("left out are not shown" in warning for warning in reporter.warnings)


def test_blank_and_full_slides(tmp_path: Path) -> None:
    write_slide(tmp_path / "blank.tif", glass(900, 900))
    write_slide(tmp_path / "full.tif", stained(900, 900))
    reporter = Silent()
    report = extract([tmp_path], tmp_path / "job", reporter=reporter)
    assert {slide.slide_id: slide.status for slide in report.slides} == {
        "blank": "empty",
        "full": "done",
    }
    assert len(read_bag(tmp_path / "job", "full")[1]) == 16
    features, coords, attributes = read_bag(tmp_path / "job", "blank")
    assert (features.shape, coords.shape) == ((0, 1280), (0, 2))
    assert attributes["complete"]
    assert reporter.warnings == [
        f"blank: no patch holds 25% of tissue, see {tmp_path / 'job/contours/blank.jpg'}"
    ]
    again = extract([tmp_path], tmp_path / "job")
    assert again.count("skipped") == 2


def test_a_slide_smaller_than_a_patch_is_empty_and_says_why(tmp_path: Path) -> None:
    write_slide(tmp_path / "tiny.tif", stained(300, 300), mpp=0.25)
    report = extract([tmp_path], tmp_path / "job")
    assert report.count("empty") == 1
    assert report.slides[0].reason == (
        "the slide (300 x 300) is smaller than one patch (448 level-0 pixels)"
    )


def test_a_slide_coarser_than_asked_for_is_warned_about(tmp_path: Path) -> None:
    write_slide(tmp_path / "coarse.tif", stained(400, 400), mpp=1.0)
    reporter = Silent()
    assert extract([tmp_path], tmp_path / "job", reporter=reporter).count("done") == 1
    assert "coarser" in reporter.warnings[0]


def test_a_second_run_does_nothing(
    lung: list[Path], lung_job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in lung_job.rglob("*") if path.is_file()}
    monkeypatch.setattr(
        "tcssa.slides.extraction.extraction.work_on_slides", lambda *_: pytest.fail("worked")
    )
    report = extract(lung, lung_job)
    assert report.count("skipped") == len(lung)
    assert report.num_patches > 0
    assert all(slide.mpp == 0.5 for slide in report.slides)
    after = {path: path.stat().st_mtime_ns for path in lung_job.rglob("*") if path.is_file()}
    assert before == after


def test_speed_options_are_no_other_parameters(lung: list[Path], lung_job: Path) -> None:
    settings = ExtractSettings(batch_size=3, readers=1, device="cpu", max_failed=0.5)
    assert extract(lung, lung_job, settings).count("skipped") == len(lung)


def test_changed_parameters_are_refused_by_name_before_anything_is_done(
    lung: list[Path], lung_job: Path, tmp_path: Path
) -> None:
    job = tmp_path / "job"
    shutil.copytree(lung_job, job)
    (job / FEATURES / f"{lung[0].stem}.h5").unlink()
    with pytest.raises(UsageError, match=r"made with min_tissue = 0\.25 \(now 0\.5\)") as caught:
        extract(lung, job, ExtractSettings(min_tissue=0.5))
    assert "--overwrite" in caught.value.hint
    assert not (job / FEATURES / f"{lung[0].stem}.h5").exists()
    report = extract(lung[:1], job, ExtractSettings(min_tissue=0.5, overwrite=True))
    assert report.count("done") == 1


def test_a_feature_file_that_was_damaged_since_is_made_again(
    lung: list[Path], lung_job: Path, tmp_path: Path
) -> None:
    shutil.copytree(lung_job, tmp_path, dirs_exist_ok=True)
    path = tmp_path / FEATURES / f"{lung[0].stem}.h5"
    path.write_bytes(path.read_bytes()[:5000])
    assert extract(lung, tmp_path).count("done") == 1
    assert np.array_equal(read_bag(tmp_path, path.stem)[0], read_bag(lung_job, path.stem)[0])


def test_features_of_another_tool_are_not_taken_for_finished(
    lung: list[Path], tmp_path: Path
) -> None:
    genuine = require_shared("interop/trident/job/20x_256px_0px_overlap/features_resnet18_random")
    (tmp_path / FEATURES).mkdir(parents=True)
    shutil.copyfile(genuine / f"{lung[0].stem}.h5", tmp_path / FEATURES / f"{lung[0].stem}.h5")
    with pytest.raises(UsageError, match="not made by tcssa"):
        extract(lung[:1], tmp_path)


def test_features_do_not_depend_on_batch_threads_or_neighbours(
    lung: list[Path], lung_job: Path, tmp_path: Path
) -> None:
    settings = ExtractSettings(batch_size=5, readers=3)
    extract(lung[1:2], tmp_path, settings)
    features, coords, _ = read_bag(tmp_path, lung[1].stem)
    expected, places, _ = read_bag(lung_job, lung[1].stem)
    assert np.array_equal(coords, places)
    assert np.abs(features - expected).max() < 1e-5


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_run_goes_on_and_equals_an_undisturbed_one(
    lung: list[Path], lung_job: Path, tmp_path: Path
) -> None:
    code = "import sys; from tcssa.slides import extract; extract(sys.argv[2:], sys.argv[1])"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), *map(str, lung)])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(f"{FEATURES}/LC*.h5")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(tmp_path.glob(f"{FEATURES}/*.h5")))
    assert 0 < done < len(lung)
    report = extract(lung, tmp_path)
    assert report.count("skipped") == done
    assert report.count("done") == len(lung) - done
    assert not leftovers(tmp_path)
    for path in lung:
        features, coords, attributes = read_bag(tmp_path, path.stem)
        expected, places, theirs = read_bag(lung_job, path.stem)
        assert np.array_equal(features, expected)
        assert np.array_equal(coords, places)
        assert attributes["params_hash"] == theirs["params_hash"]


def test_leftovers_of_a_dead_process_are_discarded(
    lung: list[Path], lung_job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "alive", lambda _pid: False)
    leftover = atomic.temporary_name(lung_job / FEATURES / "x.h5")
    leftover.write_bytes(b"half")
    extract(lung, lung_job)
    assert not leftover.exists()


def test_a_full_disk_ends_the_run_and_keeps_what_is_finished(
    lung: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = GuardedFile._write_all

    def full(self: GuardedFile, content: bytes) -> None:
        if list((tmp_path / FEATURES).glob("LC*.h5")) and len(content) > 10_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        really(self, content)

    monkeypatch.setattr(GuardedFile, "_write_all", full)
    with pytest.raises(DiskFullError, match="no space left"):
        extract(lung[:3], tmp_path)
    assert [path.stem for path in (tmp_path / FEATURES).glob("*.h5")] == [lung[0].stem]
    assert not leftovers(tmp_path)


def test_a_full_disk_while_pictures_are_drawn_ends_the_run_too(
    lung: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: object, _content: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFullError):
        extract(lung[:2], tmp_path)


def test_the_request_itself_is_checked_first(lung: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError):
        extract(lung[:1], tmp_path / "job", ExtractSettings(encoder="resnet"))
    with pytest.raises(MissingDataError):
        extract([tmp_path / "nowhere"], tmp_path / "job")
    with pytest.raises(UsageError, match="nothing takes the features"):
        extract(lung[:1], tmp_path / "job", options=ExtractOptions(keep_features=False))
    with pytest.raises(ValueError, match="overlap"):
        ExtractSettings(overlap=224)
    with pytest.raises(ValueError, match="mpps"):
        ExtractSettings(mpps=0.5)
    assert not (tmp_path / "job").exists()


def test_items_are_taken_ahead_in_order_and_in_bounded_number() -> None:
    taken = []
    stream = ahead((taken.append(item) or item for item in range(10)), 3)
    assert next(stream) == 0
    assert taken == [0, 1, 2, 3]
    assert list(stream) == list(range(1, 10))


def test_settings_load_nothing_heavy() -> None:
    code = (
        "import sys, tcssa.slides.settings, tcssa.slides, tcssa.encoders\n"
        "heavy = {'torch', 'cv2', 'openslide', 'onnxruntime', 'h5py'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[4])


def test_a_second_encoder_may_not_change_the_patches_of_the_first(
    lung: list[Path], tmp_path: Path
) -> None:
    extract(lung[:1], tmp_path)
    patches = next(tmp_path.rglob("*_patches.h5"))
    before = patches.read_bytes()
    other = ExtractSettings(encoder="efficientnet_lite0_random", min_tissue=0.95)
    report = extract(lung[:1], tmp_path, other)
    assert report.count("failed") == 1
    assert "stand on other patches of the same grid" in (report.slides[0].reason or "")
    assert patches.read_bytes() == before
    same = ExtractSettings(encoder="efficientnet_lite0_random")
    assert extract(lung[:1], tmp_path, same).count("done") == 1
