"""A written slide comes back from OpenSlide as it was drawn."""

from pathlib import Path

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray
from PIL import Image

from tcssa.synthetic import LABELS, MPP, SlideSpec, draw_slide, write_pyramid

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    spec = SlideSpec(index=1, label=LABELS[1], case=1, width=1100, height=700)
    return draw_slide(spec).pixels


@pytest.fixture(scope="module")
def path(pixels: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pyramid") / "slide.tif"
    write_pyramid(path, pixels, MPP)
    return path


def read(path: Path, level: int = 0) -> NDArray[np.int_]:
    with openslide.OpenSlide(path) as slide:
        region = slide.read_region((0, 0), level, slide.level_dimensions[level])
    return np.asarray(region.convert("RGB")).astype(int)


def test_openslide_reads_a_tiled_pyramid_with_its_mpp(path: Path) -> None:
    with openslide.OpenSlide(path) as slide:
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.5)
        assert slide.properties["openslide.level[0].tile-width"] == "256"
        assert slide.level_dimensions == ((1100, 700), (275, 175), (68, 43))
        assert slide.level_downsamples[1] == pytest.approx(4.0)


def test_colours_come_back_within_jpeg_error(path: Path, pixels: Pixels) -> None:
    error = read(path) - pixels.astype(int)
    assert np.abs(error).mean() < 4
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.5


def test_the_smaller_level_shows_the_same_slide(path: Path, pixels: Pixels) -> None:
    shrunk = pixels[:, : 275 * 4].reshape(175, 4, 275, 4, 3).mean(axis=(1, 3))
    error = read(path, level=1) - shrunk
    assert np.abs(error).mean() < 5
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.5


def test_other_readers_agree_on_the_colours(path: Path) -> None:
    with Image.open(path) as image:
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - read(path)).max() <= 1


@pytest.mark.parametrize("colour", [(230, 40, 60), (30, 160, 90), (70, 60, 200)])
def test_plain_colours_are_not_mixed_up(colour: tuple[int, int, int], tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    write_pyramid(path, np.full((300, 300, 3), colour, dtype=np.uint8), MPP)
    assert np.abs(read(path) - np.array(colour)).max() <= 3


def test_a_slide_that_fits_one_tile_still_has_two_levels(tmp_path: Path) -> None:
    path = tmp_path / "tiny.tif"
    write_pyramid(path, np.full((200, 100, 3), 240, dtype=np.uint8), MPP)
    with openslide.OpenSlide(path) as slide:
        assert slide.level_dimensions == ((100, 200), (25, 50))


@pytest.mark.parametrize("mpp", [0.25, 0.2325, 1.0])
def test_any_mpp_is_kept(mpp: float, tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write_pyramid(path, np.full((300, 300, 3), 240, dtype=np.uint8), mpp)
    with openslide.OpenSlide(path) as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(mpp, rel=1e-5)


def test_equal_pixels_give_equal_bytes_and_no_leftovers(
    path: Path, pixels: Pixels, tmp_path: Path
) -> None:
    again = tmp_path / "again.tif"
    write_pyramid(again, pixels, MPP)
    assert again.read_bytes() == path.read_bytes()
    assert list(tmp_path.iterdir()) == [again]


def test_the_description_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write_pyramid(path, np.full((300, 300, 3), 240, dtype=np.uint8), MPP, "drawn, not scanned")
    with openslide.OpenSlide(path) as slide:
        assert slide.properties["tiff.ImageDescription"] == "drawn, not scanned"
