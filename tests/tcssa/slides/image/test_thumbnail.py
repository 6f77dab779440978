"""The small picture of a whole slide."""

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
from slide_files import damage_tile, glass, stained, write_pyramid, write_slide

from tcssa.errors import SlideError
from tcssa.slides.image.slide import Slide
from tcssa.slides.image.thumbnail import thumbnail_of


def test_a_picture_pixel_is_the_mean_of_its_square(tmp_path: Path) -> None:
    pixels = stained(350, 1200)
    with Slide(write_slide(tmp_path / "s.tif", pixels)) as slide:
        found = thumbnail_of(slide, 0.5)
    assert found.scale == 3  # 1200 / 384, rounded
    over_white = np.full((351, 1200, 3), 255.0)  # beyond the slide it is white
    over_white[:350] = pixels
    means = over_white.reshape(117, 3, 400, 3, 3).mean(axis=(1, 3))
    assert found.pixels.shape == means.shape
    assert np.abs(found.pixels - means).max() <= 1
    assert not found.unreadable.any()


def test_a_small_slide_is_its_own_picture(tmp_path: Path) -> None:
    pixels = stained(120, 300)
    with Slide(write_slide(tmp_path / "s.tif", pixels)) as slide:
        found = thumbnail_of(slide, 0.1)
    assert found.scale == 1
    assert np.array_equal(found.pixels, pixels)


def test_the_picture_is_made_of_the_coarsest_level_that_will_do(tmp_path: Path) -> None:
    levels = [np.full((800 >> n, 1600 >> n, 3), 60 * n + 30, np.uint8) for n in range(3)]
    with Slide(write_pyramid(tmp_path / "s.tif", levels, mpp=0.5)) as slide:
        found = thumbnail_of(slide, 0.5)
    assert found.scale == 4
    assert np.array_equal(found.pixels, levels[2])  # level 1 holds 90, level 0 holds 30


def test_what_cannot_be_read_is_white_and_marked_and_the_rest_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    tifffile.imwrite(
        path, stained(768, 768), tile=(256, 256), photometric="rgb", compression="jpeg",
        metadata=None, software=False,
    )  # fmt: skip
    damage_tile(path, column=2, row=1)
    with Slide(path) as slide:
        found = thumbnail_of(slide, 0.5)
    left, top, right, bottom = (round(at * 256 / found.scale) for at in (2, 1, 3, 2))
    assert found.unreadable[top + 1 : bottom - 1, left + 1 : right - 1].all()
    margin = math.ceil(64 / found.scale)  # damage is outlined by blocks of at most 64 pixels
    around = np.zeros_like(found.unreadable)
    around[top - margin : bottom + margin, left - margin : right + margin] = True
    assert not found.unreadable[~around].any()
    assert (found.pixels[found.unreadable] == 255).all()
    assert (found.pixels[~around].min(axis=1) < 200).all()


def damaged_pyramid(path: Path, *levels: int) -> Path:
    """A pyramid whose tissue is to the right of x = 512, all tiles of some levels zeroed."""
    whole = glass(1024, 1536)
    whole[:, 512:] = stained(1024, 1024)
    with tifffile.TiffWriter(path) as tiff:
        for number in range(3):
            tiff.write(
                whole[:: 2**number, :: 2**number], tile=(256, 256), photometric="rgb",
                compression="jpeg", subfiletype=min(number, 1), metadata=None, software=False,
            )  # fmt: skip
    with tifffile.TiffFile(path) as tiff:
        spans = [
            span
            for level in levels
            for page in [tiff.pages[level]]
            for span in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]
    with path.open("r+b") as stream:
        for offset, size in spans:
            stream.seek(offset)
            stream.write(bytes(size))
    return path


@pytest.mark.parametrize("levels", [(2,), (1, 2)])
def test_where_a_level_is_damaged_the_next_finer_one_is_read(
    tmp_path: Path, levels: tuple[int, ...]
) -> None:
    with Slide(damaged_pyramid(tmp_path / "good.tif")) as slide:
        good = thumbnail_of(slide, 0.5)
    with Slide(damaged_pyramid(tmp_path / "bad.tif", *levels)) as slide:
        bad = thumbnail_of(slide, 0.5)
    assert good.damaged_levels == ()
    assert bad.damaged_levels == levels
    assert not bad.unreadable.any()
    assert bad.scale == good.scale == 4
    assert np.abs(bad.pixels.astype(int) - good.pixels).mean() < 12
    assert bad.pixels[:, :120].min() > 220


def test_what_is_damaged_on_every_level_is_unreadable(tmp_path: Path) -> None:
    with Slide(damaged_pyramid(tmp_path / "bad.tif", 0, 1, 2)) as slide:
        found = thumbnail_of(slide, 0.5)
    assert found.unreadable.all()
    assert found.damaged_levels == (1, 2)


def test_finer_levels_are_not_read_for_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = damaged_pyramid(tmp_path / "bad.tif", 2)
    monkeypatch.setenv("TCSSA_MAX_OVERVIEW_PIXELS", "300000")  # level 1 has 393,216
    with Slide(path) as slide, pytest.raises(SlideError, match="pixels of the level"):
        thumbnail_of(slide, 0.5)


def test_a_level_of_too_many_pixels_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Slide(write_slide(tmp_path / "s.tif", glass(300, 400))) as slide:
        monkeypatch.setenv("TCSSA_MAX_OVERVIEW_PIXELS", "119999")
        with pytest.raises(SlideError, match="claims 120,000 pixels"):
            thumbnail_of(slide, 0.5)
        monkeypatch.setenv("TCSSA_MAX_OVERVIEW_PIXELS", "120000")
        assert thumbnail_of(slide, 0.5).pixels.shape[1] == 400
