"""Slides of 30,720 x 30,720 pixels, and the same tissue at other scales."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from slide_files import write_slide

from tcssa.slides import ExtractSettings, extract
from tcssa.slides.extraction.grid import GridSpec
from tcssa.slides.image.reader import PatchReader
from tcssa.slides.image.slide import Slide
from tcssa.synthetic.repeated import real_region, write_large_slide


@pytest.fixture(scope="module")
def large(cmu: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """15 x 15 times the same real square, at 0.265 µm/px."""
    path = tmp_path_factory.mktemp("large") / "large.tif"
    return write_large_slide(path, real_region(cmu), 15, mpp=0.265)


def test_patches_of_a_large_slide_stand_where_exact_arithmetic_puts_them(large: Path) -> None:
    with Slide(large) as slide:
        mpp = slide.resolution().mpp
        assert slide.dimensions == (30720, 30720)
        assert mpp == pytest.approx(0.265, abs=1e-4)
    spec = GridSpec(512, 0, 0.5, 0.265)
    assert spec.patch_size_level0 == 966  # not the 1024 of a bucket of magnifications
    assert spec.mpp_effective == pytest.approx(0.5, abs=3e-4)
    step = Fraction(512) * Fraction("0.5") / Fraction("0.265")
    places = [int(step * i + Fraction(1, 2)) for i in range(40)]
    places = [place for place in places if place + 966 <= 30720]
    corners = spec.corners(30720, 30720)
    assert len(corners) == len(places) ** 2 == 31**2
    assert sorted(map(tuple, corners.tolist())) == [(x, y) for x in places for y in places]


def test_a_patch_is_the_square_it_says_at_the_resolution_it_says(large: Path, cmu: Path) -> None:
    region = real_region(cmu)
    corner = (2048 * 7 + 500, 2048 * 3 + 700)
    pixels, readable = PatchReader(large, 966, 512).read(np.array([corner]))
    assert readable.all()
    expected = cv2.resize(
        region[700 : 700 + 966, 500 : 500 + 966], (512, 512), interpolation=cv2.INTER_AREA
    )
    assert np.abs(pixels[0].astype(int) - expected).mean() < 3  # JPEG lies between


@pytest.mark.parametrize(
    ("side", "resample"), [(1024, "area"), (1280, "lanczos"), (1536, "lanczos")]
)
def test_a_slide_and_the_same_slide_resampled_to_another_pyramid_give_the_same_features(
    cmu: Path, tmp_path: Path, side: int, resample: Any
) -> None:
    region = real_region(cmu)
    smaller = cv2.resize(region, (side, side), interpolation=cv2.INTER_AREA)
    write_slide(tmp_path / "level0.tif", region, mpp=0.25)
    write_slide(tmp_path / "resampled.tif", smaller, mpp=0.25 * 2048 / side)
    slides = [tmp_path / "level0.tif", tmp_path / "resampled.tif"]
    report = extract(slides, tmp_path / "job", ExtractSettings(min_tissue=0.1, resample=resample))
    assert report.count("done") == 2
    bags = {}
    for name, scale in (("level0", 1), ("resampled", side / 2048)):
        with h5py.File(report.features_folder / f"{name}.h5") as file:
            places = (file["coords"][:] / scale / 448).round().astype(int)
            bags[name] = dict(zip(map(tuple, places), file["features"][:], strict=True))
    common = sorted(bags["level0"].keys() & bags["resampled"].keys())
    assert len(common) >= 0.9 * len(bags["level0"]) >= 8
    one, two = (np.stack([bag[place] for place in common]) for bag in bags.values())
    cosine = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    assert np.median(cosine) >= 0.99


PEAK = """
import sys
from tcssa.slides import ExtractSettings, extract
settings = ExtractSettings(mpp=4.0, patch_size=896, readers=1, device="cpu")
report = extract([sys.argv[1]], sys.argv[2], settings)
status = open("/proc/self/status").read()
print(report.num_patches, *[l.split()[1] for l in status.splitlines() if l.startswith("VmHWM")])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_a_large_slide_is_bounded(cmu: Path, tmp_path: Path) -> None:
    slide = write_large_slide(tmp_path / "large.tif", real_region(cmu), 24, mpp=1.0)
    command = [sys.executable, "-c", PEAK, str(slide), str(tmp_path / "job")]
    patches, peak = subprocess.check_output(command, text=True).split()
    assert int(patches) > 100
    # its pixels take 7.2 GB; the decoded tiles and its pictures have bounds of their own
    assert int(peak) * 1024 < 1.4e9


def test_settings_by_other_names() -> None:
    settings = ExtractSettings(magnification=20, patch_size=256, stride=192)
    assert (settings.mpp, settings.overlap) == (0.5, 64)
    assert ExtractSettings(magnification=40).mpp == 0.25
    assert ExtractSettings.model_validate(settings.model_dump()) == settings
    for wrong, said in [
        ({"magnification": 20, "mpp": 0.5}, "give mpp or magnification, not both"),
        ({"stride": 100, "overlap": 10}, "give overlap or stride, not both"),
        ({"stride": 300}, "stride = 300 px must be from 1 to patch_size = 224 px"),
        ({"stride": 0}, "stride = 0 px must be from 1"),
        ({"magnification": 0}, "must be above 0"),
        ({"magnification": 1000}, "greater than or equal to 0.05"),
    ]:
        with pytest.raises(ValueError, match=said):
            ExtractSettings(**wrong)
