from pathlib import Path

import cv2
import numpy as np
import pytest
from shared_data import require_shared
from slide_files import stained, write_slide

from tcssa.errors import MissingMppError, SlideError
from tcssa.slides.image.slide import Slide, slide_id_of


def test_resolution_of_a_real_slide_is_what_it_states(cmu: Path) -> None:
    with Slide(cmu) as slide:
        assert slide.resolution().mpp == 0.499
        assert slide.resolution().source == "properties"
        assert slide.dimensions == (2220, 2967)
        assert slide.resolution(0.25).source == "given"


def test_resolution_falls_back_to_the_objective(tmp_path: Path) -> None:
    aperio = "Aperio Image Library v11.2.1\r\n300x300 (256x256) |AppMag = 40|Filename = a"
    path = write_slide(tmp_path / "a.svs", stained(300, 300), mpp=None, description=aperio)
    with Slide(path) as slide:
        assert slide.resolution().mpp == 0.25
        assert slide.resolution().source == "objective"


def test_a_slide_without_resolution_is_refused() -> None:
    with (
        Slide(require_shared("slides/tcga-cr-7395-01a-01-ts1.svs")) as slide,
        pytest.raises(MissingMppError, match="neither") as caught,
    ):
        slide.resolution()
    assert "--slide-mpp" in caught.value.hint


def test_an_implausible_resolution_is_refused_with_its_value() -> None:
    with (
        Slide(require_shared("slides/boxes.tiff")) as slide,
        pytest.raises(MissingMppError, match=r"implausible resolution, 352\.778 µm"),
    ):
        slide.resolution()


def test_pixels_that_are_not_square_are_refused(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", stained(300, 300), mpp=0.5, mpp_y=0.6)
    with Slide(path) as slide, pytest.raises(SlideError, match="not square"):
        slide.resolution()


def test_files_that_are_no_slides_are_told_in_one_line(tmp_path: Path, lung: list[Path]) -> None:
    text = tmp_path / "text.svs"
    text.write_text("no slide")
    cut = tmp_path / "cut.tif"
    cut.write_bytes(lung[0].read_bytes()[: lung[0].stat().st_size // 2])
    for path, reason in [
        (text, "no slide that any reader knows"),
        (cut, "cut short"),
        (tmp_path / "missing.svs", "no such file"),
        (tmp_path, "is a folder"),
    ]:
        with pytest.raises(SlideError, match=reason) as caught:
            Slide(path)
        assert "\n" not in str(caught.value)


def test_the_best_level_is_the_coarsest_that_has_the_pixels() -> None:
    with Slide(require_shared("slides/tcga-cr-7395-01a-01-ts1.svs")) as slide:
        assert slide.downsamples[1] > 2  # 2.0005, meant as 2
        assert [slide.best_level(scale) for scale in (0.5, 1, 1.9, 2, 8)] == [0, 0, 0, 1, 1]


def test_a_patch_is_the_area_mean_of_level_0(cmu: Path) -> None:
    with Slide(cmu) as slide:
        patch = slide.read_patch(900, 900, 448, 224)
        whole = np.asarray(slide.read_level(900, 900, 0, 448, 448))
    means = whole.reshape(224, 2, 224, 2, 3).mean((1, 3))
    assert np.abs(patch - means).max() <= 0.5 + 1e-6


def test_levels_agree_on_a_patch(lung: list[Path]) -> None:
    with Slide(lung[0]) as slide:
        coarse = slide.read_patch(256, 256, 896, 224)
        fine = slide.read_level(256, 256, 0, 896, 896)
    shrunk = cv2.resize(fine, (224, 224), interpolation=cv2.INTER_AREA).astype(int)
    apart = [np.abs(np.roll(coarse, by, axis=1) - shrunk).mean() for by in (-1, 0, 1)]
    assert apart[1] < 8  # both went through JPEG
    assert apart[1] < min(apart[0], apart[2]) / 1.3


def test_what_lies_outside_of_the_slide_is_white(cmu: Path) -> None:
    with Slide(cmu) as slide:
        patch = slide.read_patch(2200, 2950, 224, 224)
    assert (patch[30:, 30:] == 255).all()


@pytest.mark.parametrize(
    ("name", "slide_id"),
    [("a.svs", "a"), ("a.ome.tif", "a"), ("a.OME.TIFF", "a"), ("a.b.svs", "a.b"), ("a.xyz", "a")],
)
def test_slide_id_is_the_name_without_its_extension(
    tmp_path: Path, name: str, slide_id: str
) -> None:
    assert slide_id_of(tmp_path / name) == slide_id
