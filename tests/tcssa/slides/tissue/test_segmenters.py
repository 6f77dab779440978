from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from slide_files import glass, stained

from tcssa.errors import UnknownNameError, UsageError
from tcssa.slides.image.slide import Slide
from tcssa.slides.image.thumbnail import thumbnail_of
from tcssa.slides.tissue.segmenters import by_saturation, by_texture, local_entropy, segmenter
from tcssa.slides.tissue.tissue import find_tissue


def left_half(pixels: NDArray[np.uint8], um_per_px: float) -> NDArray[np.bool_]:
    mask = np.zeros(pixels.shape[:2], bool)
    mask[:, : pixels.shape[1] // 2] = True
    return mask


def make_left_half() -> object:
    return left_half


def make_wrong_shape() -> object:
    return lambda pixels, um_per_px: np.ones((3, 3), bool)


NOT_A_FUNCTION = 3


def test_entropy_equals_its_definition() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (9, 9, 1)).repeat(3, axis=2).astype(np.uint8)
    _, counts = np.unique(pixels[..., 0] // 8, return_counts=True)
    share = counts / counts.sum()
    assert local_entropy(pixels, 9)[4, 4] == pytest.approx(
        -(share * np.log2(share)).sum(), abs=1e-4
    )


def test_texture_finds_grey_tissue_that_has_no_colour() -> None:
    pixels = glass(300, 400)
    grey = np.random.default_rng(0).normal(170, 25, (120, 150, 1))
    pixels[100:220, 120:270] = np.clip(grey, 0, 255).astype(np.uint8)
    assert not by_saturation(pixels, 8.0).any()
    found = by_texture(pixels, 8.0)
    assert found[110:210, 130:260].all()
    assert not found[:90].any()
    assert not found[:, 290:].any()


@pytest.mark.parametrize("tint", [(243, 242, 240), (255, 255, 255), (225, 220, 226)])
def test_glass_has_no_texture(tint: tuple[int, int, int]) -> None:
    assert not by_texture(glass(300, 400, tint=tint), 8.0).any()


def test_texture_and_colour_agree_on_a_stained_slide(cmu: Path) -> None:
    with Slide(cmu) as slide:
        picture = thumbnail_of(slide, 0.499)
    colour = find_tissue(picture, 0.499).mask
    texture = find_tissue(picture, 0.499, by_texture).mask
    assert (colour == texture).mean() > 0.93
    assert texture[colour].mean() > 0.97  # texture's rim is half a window wider


def test_all_takes_everything() -> None:
    assert segmenter("all")(glass(30, 40), 8.0).all()


def test_a_users_segmenter_is_called_and_checked() -> None:
    assert segmenter(f"{__name__}:make_left_half")(stained(30, 40), 8.0).sum() == 600
    with pytest.raises(UsageError, match=r"returned bool \[3, 3\]"):
        segmenter(f"{__name__}:make_wrong_shape")(stained(30, 40), 8.0)


def test_unknown_segmenters_are_named() -> None:
    with pytest.raises(UnknownNameError, match="otsuu"):
        segmenter("otsuu")
    with pytest.raises(UsageError, match="cannot be imported"):
        segmenter("nowhere_at_all:factory")
    with pytest.raises(UsageError, match="is a int, no function"):
        segmenter(f"{__name__}:NOT_A_FUNCTION")
