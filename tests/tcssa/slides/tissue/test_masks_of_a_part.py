"""Masks of slides that were scanned in part, as MRXS and SCN: from which corner they count."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from slide_files import glass, stained, write_scn

from tcssa.slides.image.slide import Slide
from tcssa.slides.image.thumbnail import thumbnail_of
from tcssa.slides.tissue.ground import Ground, Mask, MaskError, MaskRules
from tcssa.slides.tissue.masks import read_mask

SIDE, CORNER = 1024, (448, 224)


@pytest.fixture(scope="module")
def scn(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A slide whose scanned part is glass with tissue at (448 + 64 … 448 + 320, 224 + 128 …)."""
    part = glass(448, 512)
    part[128:256, 64:320] = stained(128, 256)
    path = write_scn(tmp_path_factory.mktemp("scn") / "S.scn", part, corner=CORNER, side=SIDE)
    with Slide(path) as slide:
        return Ground(thumbnail_of(slide, 0.5), slide.dimensions, slide.bounds)


def outlined(path: Path, ground: Ground, *box: int, origin: str = "auto") -> Mask:
    left, top, right, bottom = box
    ring = [[left, top], [right, top], [right, bottom], [left, bottom]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    return read_mask(path, ground, MaskRules(origin=origin))  # type: ignore[arg-type]


def extent(mask: Mask, ground: Ground) -> list[float]:
    """Left, top, right and bottom of a mask in level-0 pixels."""
    rows, columns = np.nonzero(mask.inside)
    low = [columns.min(), rows.min()]
    return [each * ground.scale for each in (*low, columns.max() + 1, rows.max() + 1)]


def test_a_slide_states_what_was_scanned_of_it(scn: Ground) -> None:
    assert scn.dimensions == (SIDE, SIDE)
    assert scn.bounds == (*CORNER, 512, 448)


def test_outlines_count_from_the_corner_that_puts_them_on_what_was_scanned(
    tmp_path: Path, scn: Ground
) -> None:
    qupath = outlined(tmp_path / "S.geojson", scn, 64, 128, 320, 256)
    assert qupath.origin == "bounds"
    assert extent(qupath, scn) == pytest.approx([512, 352, 768, 480], abs=8)
    assert qupath.remarks == (
        "its mask is counted from (448, 224), the corner of what was scanned "
        "(--mask-origin bounds)",
    )
    trident = outlined(tmp_path / "S.geojson", scn, 512, 352, 768, 480)
    assert trident.origin == "slide"
    assert extent(trident, scn) == pytest.approx([512, 352, 768, 480], abs=8)
    assert "counted from the slide's corner (--mask-origin slide)" in trident.remarks[0]


def test_of_two_places_that_were_scanned_the_one_with_tissue_is_meant(
    tmp_path: Path, scn: Ground
) -> None:
    pixels = scn.thumbnail.pixels.copy()
    pixels[(pixels == 255).all(axis=2)] = 240
    whole = Ground(
        replace(scn.thumbnail, pixels=pixels), scn.dimensions, (100, 100, SIDE - 100, SIDE - 100)
    )
    assert outlined(tmp_path / "S.geojson", whole, 512, 352, 768, 480).origin == "slide"
    assert outlined(tmp_path / "S.geojson", whole, 412, 252, 668, 380).origin == "bounds"
    with pytest.raises(
        MaskError, match=r"or from that of what was scanned, \(100, 100\)"
    ) as caught:
        outlined(tmp_path / "S.geojson", whole, 110, 110, 210, 150)
    assert "--mask-origin slide, or bounds" in (caught.value.hint or "")
    for origin in ("bounds", "slide"):
        mask = outlined(tmp_path / "S.geojson", whole, 110, 110, 210, 150, origin=origin)
        assert mask.origin == origin


def test_a_picture_counts_from_where_its_shape_says(tmp_path: Path, scn: Ground) -> None:
    part = np.zeros((224, 256), np.uint8)
    part[64:128, 32:160] = 1
    whole = np.zeros((256, 256), np.uint8)
    whole[88:120, 128:192] = 1
    for picture, origin in ((part, "bounds"), (whole, "slide")):
        Image.fromarray(picture).save(tmp_path / "S.png")
        mask = read_mask(tmp_path / "S.png", scn)
        assert mask.origin == origin
        assert extent(mask, scn) == pytest.approx([512, 352, 768, 480], abs=8)
    Image.fromarray(part[:100]).save(tmp_path / "S.png")
    with pytest.raises(MaskError, match=r"256 x 100, .* of the slide, 512 x 448 or 1024 x 1024"):
        read_mask(tmp_path / "S.png", scn)


def test_bounds_that_a_slide_does_not_state_are_told(tmp_path: Path, scn: Ground) -> None:
    plain = Ground(scn.thumbnail, scn.dimensions)
    mask = outlined(tmp_path / "S.geojson", plain, 64, 128, 320, 256, origin="bounds")
    assert mask.origin == "slide"
    assert "states no bounds" in mask.remarks[0]
