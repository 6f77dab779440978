"""What a drawn slide shows, and that it is drawn the same way every time."""

import cv2
import numpy as np
import pytest

from tcssa.synthetic import LABELS, SlideSpec, draw_slide


def small(index: int, label: str = LABELS[0], *, case: int = 0, seed: int = 0) -> SlideSpec:
    return SlideSpec(index=index, label=label, case=case, seed=seed, width=640, height=512)


@pytest.mark.parametrize("label", LABELS)
def test_equal_specs_draw_identical_pixels(label: str) -> None:
    spec = small(4, label, case=2, seed=11)
    first, second = draw_slide(spec), draw_slide(spec)
    assert np.array_equal(first.pixels, second.pixels)
    assert np.array_equal(first.nuclei, second.nuclei)


def test_the_number_of_threads_does_not_change_the_pixels() -> None:
    spec = small(0, LABELS[1])
    threads = cv2.getNumThreads()
    many = draw_slide(spec).pixels
    cv2.setNumThreads(1)
    try:
        assert np.array_equal(draw_slide(spec).pixels, many)
    finally:
        cv2.setNumThreads(threads)


def test_another_seed_index_or_label_draws_another_slide() -> None:
    drawn = [
        draw_slide(small(index, LABELS[label], seed=seed)).pixels
        for seed, index, label in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    ]
    for other in drawn[1:]:
        assert not np.array_equal(drawn[0], other)


def test_the_label_changes_the_tumour_but_not_where_it_lies() -> None:
    one, other = (draw_slide(small(3, label, case=1)) for label in LABELS)
    assert np.array_equal(one.tissue, other.tissue)
    assert np.array_equal(one.tumour, other.tumour)


@pytest.mark.parametrize("size", [(512, 512), (700, 333), (256, 256)])
def test_pixels_and_masks_have_the_size_of_the_spec(size: tuple[int, int]) -> None:
    width, height = size
    slide = draw_slide(SlideSpec(index=0, label=LABELS[0], case=0, width=width, height=height))
    assert slide.pixels.shape == (height, width, 3)
    assert slide.pixels.dtype == np.uint8
    for mask in (slide.tissue, slide.tumour, slide.nuclei):
        assert mask.shape == (height, width)


def test_tissue_is_pink_to_purple_on_white_glass() -> None:
    slide = draw_slide(small(2))
    glass = ~cv2.dilate(slide.tissue.astype(np.uint8), np.ones((9, 9))).astype(bool)
    assert slide.pixels[glass].min() > 215
    red, green, blue = slide.pixels[slide.tissue].mean(axis=0)
    assert green < min(red, blue) - 10
    nuclei = slide.pixels[slide.nuclei > 0].mean(axis=0)
    assert nuclei[0] < red - 30
    assert nuclei[2] > nuclei[0]


def test_no_tissue_touches_the_border_of_the_slide() -> None:
    slide = draw_slide(small(6, LABELS[1]))
    inner = slide.tissue[8:-8, 8:-8]
    assert inner.sum() == slide.tissue.sum()


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown label"):
        SlideSpec(index=0, label="benign", case=0)


def test_a_slide_too_small_for_tissue_is_refused() -> None:
    with pytest.raises(ValueError, match="256 px"):
        SlideSpec(index=0, label=LABELS[0], case=0, width=100)
