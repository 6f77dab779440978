import json
from pathlib import Path

import numpy as np
import pytest
from shared_data import require_shared
from slide_files import Pixels, glass, stained, write_slide

from tcssa.slides.image.slide import Slide
from tcssa.slides.image.thumbnail import Thumbnail, thumbnail_of
from tcssa.slides.tissue.contours import tissue_contours, to_geojson
from tcssa.slides.tissue.segmenters import everywhere
from tcssa.slides.tissue.tissue import Tissue, find_tissue


def picture(pixels: Pixels, um_per_px: float = 8.0) -> Thumbnail:
    return Thumbnail(pixels, um_per_px / 0.5, np.zeros(pixels.shape[:2], bool))


@pytest.mark.parametrize("tint", [(243, 242, 240), (255, 255, 255), (225, 220, 226)])
def test_glass_holds_no_tissue(tint: tuple[int, int, int]) -> None:
    tissue = find_tissue(picture(glass(300, 400, tint=tint)), 0.5)
    assert not tissue.mask.any()


def test_a_slide_of_tissue_stays_all_tissue() -> None:
    pixels = stained(300, 400)
    pixels[:, 200:] = (235, 190, 220)  # Otsu alone would drop the paler half
    assert find_tissue(picture(pixels), 0.5).mask.all()


def test_real_tissue_fills_the_patches_of_the_lung_cohort(lung: list[Path]) -> None:
    # these slides are sources of 256 px side by side, within a white frame of 112 px
    with Slide(lung[0]) as slide:
        tissue = find_tissue(thumbnail_of(slide, 0.5), 0.5)
    inner = np.array([[x, y] for x in range(112, 1200, 224) for y in range(112, 900, 224)])
    assert tissue.share_per_patch(inner, 224).min() > 0.7
    assert 0.6 < tissue.mask.mean() < 0.72


def test_black_edges_and_specks_are_no_tissue() -> None:
    pixels = glass(300, 400)
    pixels[:, :40] = np.random.default_rng(0).integers(0, 9, (300, 40, 3))
    pixels[200:206, 200:206] = (180, 60, 140)
    assert not find_tissue(picture(pixels), 0.5).mask.any()


def test_small_holes_are_filled_and_large_ones_kept() -> None:
    pixels = stained(300, 400)
    pixels[100:112, 100:112] = 245
    pixels[150:220, 250:330] = 245
    mask = find_tissue(picture(pixels), 0.5).mask
    assert mask[106, 106]
    assert not mask[185, 290]


def test_glass_at_the_edge_is_no_hole_however_small() -> None:
    pixels = stained(300, 400)
    corners = [(slice(0, 13), slice(0, 13)), (slice(288, 300), slice(388, 400))]
    for rows, columns in (*corners, (slice(0, 12), slice(200, 212))):  # about 100 µm a side
        pixels[rows, columns] = 245
    mask = find_tissue(picture(pixels), 0.5).mask
    for row, column in ((4, 4), (295, 395), (4, 206)):
        assert not mask[row, column]
    assert mask.sum() > 300 * 400 - 3 * 13**2


def test_all_is_everything_without_a_filter_of_size_or_of_pen() -> None:
    pixels = glass(7, 9)  # 56 x 72 µm, less than any speck
    pixels[:] = (20, 120, 40)  # as a pen's
    tissue = find_tissue(picture(pixels), 0.5, everywhere)
    assert tissue.mask.all()
    assert tissue.removed is None


def test_share_per_patch_equals_counting() -> None:
    rng = np.random.default_rng(3)
    mask = rng.random((30, 50)) < 0.4
    corners = rng.integers(0, 100, (40, 2))
    fine = mask.repeat(8, axis=0).repeat(8, axis=1)  # one level-0 pixel a pixel
    counted = [fine[y : y + 37, x : x + 37].mean() for x, y in corners]
    assert Tissue(mask, 8.0).share_per_patch(corners, 37) == pytest.approx(counted)


def test_outlines_keep_holes_and_are_in_level_0_pixels() -> None:
    mask = np.zeros((50, 60), bool)
    mask[10:40, 20:50] = True
    mask[20:30, 30:40] = False
    contours = tissue_contours(Tissue(mask, 16.0))
    content = json.loads(to_geojson(contours, "a"))
    (feature,) = content["features"]
    assert content["type"] == "FeatureCollection"
    assert feature["properties"] == {"tissue_id": 0}
    outer, hole = map(np.array, feature["geometry"]["coordinates"])
    assert outer[0].tolist() == outer[-1].tolist()
    assert np.abs(outer.min(0) - [320, 160]).max() <= 4
    assert np.abs(outer.max(0) - [800, 640]).max() <= 4
    assert np.abs(hole.min(0) - [480, 320]).max() <= 12
    assert hole.max(0) == pytest.approx([640, 480], abs=12)


def test_no_tissue_gives_an_empty_collection() -> None:
    contours = tissue_contours(Tissue(np.zeros((5, 5), bool), 1.0))
    assert json.loads(to_geojson(contours, "a"))["features"] == []


def test_the_picture_of_a_slide_does_not_depend_on_blocks(
    cmu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Slide(cmu) as slide:
        whole = thumbnail_of(slide, 0.499)
        monkeypatch.setattr("tcssa.slides.image.thumbnail._BLOCK_PX", 160)
        blocks = thumbnail_of(slide, 0.499)
    assert np.array_equal(whole.pixels, blocks.pixels)
    assert whole.pixels.shape[0] * whole.scale == pytest.approx(2967, abs=whole.scale)


def test_a_picture_is_bounded_and_never_tiny(tmp_path: Path) -> None:
    with Slide(write_slide(tmp_path / "long.tif", glass(300, 9000))) as slide:
        assert max(thumbnail_of(slide, 0.05).pixels.shape) <= 4096
    with Slide(require_shared("slides/boxes.tiff")) as slide:
        assert thumbnail_of(slide, 2.0).pixels.shape == (250, 300, 3)
