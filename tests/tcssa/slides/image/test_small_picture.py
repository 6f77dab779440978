import logging
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from slide_files import stained

from tcssa.errors import FeatureFileError
from tcssa.slides.image.small_picture import picture_beside


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Features in a job folder with the thumbnail of their slide."""
    path = tmp_path / "20x" / "features_x" / "a.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["features"] = np.ones((3, 4), np.float32)
        file["coords"] = np.zeros((3, 2), np.int64)
        file["coords"].attrs["level0_width"] = 800
    (tmp_path / "thumbnails").mkdir()
    Image.fromarray(stained(60, 80)).save(tmp_path / "thumbnails/a.jpg")
    return path


def test_the_thumbnail_of_a_job_is_found_beside_its_features(features: Path) -> None:
    picture = picture_beside(features)
    assert picture is not None
    assert picture.scale == 10
    assert picture.pixels.shape == (60, 80, 3)


def test_a_thumbnail_that_is_cut_short_is_left_out_and_named(
    features: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thumbnail = tmp_path / "thumbnails/a.jpg"
    thumbnail.write_bytes(thumbnail.read_bytes()[:-200])
    with caplog.at_level(logging.WARNING):
        assert picture_beside(features) is None
    assert "a.jpg" in caplog.text


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf")])
def test_a_width_that_cannot_be_gives_no_picture(features: Path, width: float) -> None:
    with h5py.File(features, "r+") as file:
        file["coords"].attrs["level0_width"] = width
    assert picture_beside(features) is None


def test_a_width_that_is_no_number_is_named(features: Path) -> None:
    with h5py.File(features, "r+") as file:
        file["coords"].attrs["level0_width"] = "wide"
    with pytest.raises(FeatureFileError, match=r"a\.h5"):
        picture_beside(features)
