from pathlib import Path

import cv2
import numpy as np
import pytest
from shared_data import require_shared
from slide_files import Pixels, glass, stained

from tcssa.slides.image.slide import Slide
from tcssa.slides.image.thumbnail import Thumbnail, thumbnail_of
from tcssa.slides.tissue.pen import pen_marks
from tcssa.slides.tissue.tissue import find_tissue

INKS = {
    "blue": (30, 60, 200),
    "green": (20, 130, 60),
    "red": (215, 20, 30),
    "black": (30, 28, 32),
}


def with_stroke(pixels: Pixels, ink: tuple[int, int, int]) -> tuple[Pixels, Pixels]:
    """A pen's line across a picture, its edges soft, and where its middle is."""
    alpha = np.zeros(pixels.shape[:2], np.float32)
    height, width = alpha.shape
    cv2.line(alpha, (20, height - 30), (width - 20, height - 60), 1.0, 14)
    soft = cv2.GaussianBlur(alpha, (5, 5), 1.0)[..., None]
    drawn = pixels * (1 - soft) + np.array(ink) * soft
    return np.rint(drawn).astype(np.uint8), (cv2.erode(alpha, np.ones((3, 3))) > 0)


@pytest.mark.parametrize("ink", INKS)
def test_a_pens_line_on_glass_and_over_tissue_is_no_tissue(ink: str) -> None:
    pixels = glass(300, 400)
    pixels[:, 200:] = stained(300, 200)
    marked, stroke = with_stroke(pixels, INKS[ink])
    picture = Thumbnail(marked, 16.0, np.zeros(marked.shape[:2], bool))
    tissue = find_tissue(picture, 0.5)
    assert not tissue.mask[stroke].any()
    assert not tissue.mask[:, :180].any()
    assert tissue.mask[:200, 215:].all()
    assert tissue.removed is not None
    assert tissue.removed.any()
    kept = find_tissue(picture, 0.5, keep_pen=True)
    assert kept.mask[stroke].any()  # soft edges and, but for black, the line itself


def test_no_real_tissue_is_taken_for_pen(cmu: Path, lung: list[Path]) -> None:
    tcga = require_shared("slides/tcga-cr-7395-01a-01-ts1.svs")
    for path, mpp in [(cmu, 0.499), (tcga, 0.25), *((one, 0.5) for one in lung)]:
        with Slide(path) as slide:
            picture = thumbnail_of(slide, mpp)
        assert not pen_marks(picture.pixels, mpp * picture.scale).any(), path.name


def test_pigment_within_tissue_is_kept() -> None:
    pixels = stained(300, 400)
    rng = np.random.default_rng(0)
    for x, y in rng.integers(20, 280, (40, 2)):
        cv2.circle(pixels, (int(x), int(y)), 3, (25, 22, 20), -1)  # clumps of 50 µm
    assert not pen_marks(pixels, 8.0).any()
