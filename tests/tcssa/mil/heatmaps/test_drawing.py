"""The picture of heat maps."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tcssa.mil.heatmaps.drawing import Layer, draw_heatmap, raster, round_length
from tcssa.mil.heatmaps.scales import Scale
from tcssa.slides.image.places import Places
from tcssa.slides.image.small_picture import Picture


def test_a_raster_has_values_where_patches_lie_and_means_where_they_overlap() -> None:
    places = Places(np.array([[0, 0], [50, 0], [200, 100]]), 100)
    found = raster(np.array([2.0, 4.0, 7.0]), places, 50.0, (4, 6))
    np.testing.assert_array_equal(found[0], [2, 3, 4, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(found[2], [np.nan, np.nan, np.nan, np.nan, 7, 7])


def test_patches_smaller_than_a_pixel_are_still_seen() -> None:
    found = raster(np.ones(2), Places(np.array([[0, 0], [900, 0]]), 10), 100.0, (5, 10))
    assert np.isfinite(found).sum() == 2


@pytest.mark.parametrize(
    ("longest", "length"), [(999, 500), (1000, 1000), (1999, 1000), (2400, 2000), (0.7, 0.5)]
)
def test_scale_bars_have_round_lengths(longest: float, length: float) -> None:
    assert round_length(longest) == pytest.approx(length)


@pytest.mark.parametrize("mpp", [0.5, None])
def test_a_picture_shows_patches_for_red_and_against_blue(
    tmp_path: Path, mpp: float | None
) -> None:
    picture = Picture(np.full((100, 100, 3), 255, np.uint8), 4.0)
    places = Places(np.array([[0, 0], [200, 0]]), 200, mpp)
    values = np.array([1.0, -1.0])
    layer = Layer("evidence for x_$y$", values, Scale.of("value", values, signed=True))
    draw_heatmap(tmp_path / "map.png", picture, places, [layer], title="S")
    pixels = cv2.imread(str(tmp_path / "map.png"))
    assert pixels is not None
    blue, red = pixels[..., 0].astype(int), pixels[..., 2].astype(int)
    left, right = np.nonzero(red - blue > 35)[1], np.nonzero(blue - red > 35)[1]
    assert left.size > 20_000
    assert right.size > 20_000
    assert pixels.shape[1] / 2 < np.median(left) < np.median(right)
