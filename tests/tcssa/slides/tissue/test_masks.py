import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from slide_files import stained, write_slide

from tcssa.reporter import Silent
from tcssa.slides import ExtractSettings, extract
from tcssa.slides.image.thumbnail import Thumbnail
from tcssa.slides.tissue.contours import tissue_contours, to_geojson
from tcssa.slides.tissue.ground import Ground, MaskError, MaskRules
from tcssa.slides.tissue.masks import read_mask
from tcssa.slides.tissue.tissue import Tissue

SQUARE = [[160.0, 160.0], [640.0, 160.0], [640.0, 480.0], [160.0, 480.0], [160.0, 160.0]]
HOLE = [[320.0, 240.0], [480.0, 240.0], [480.0, 320.0], [320.0, 320.0], [320.0, 240.0]]
SHAPE, SCALE, SLIDE = (50, 60), 16.0, (960, 800)


def ground(
    shape: tuple[int, int] = SHAPE, scale: float = SCALE, slide: tuple[int, int] = SLIDE
) -> Ground:
    """A slide of glass."""
    picture = np.full((*shape, 3), 240, np.uint8)
    return Ground(Thumbnail(picture, scale, np.zeros(shape, bool)), slide)


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def polygon(*rings: object) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": geometry, "properties": {}}


@pytest.mark.parametrize(
    "content",
    [
        polygon(SQUARE, HOLE),
        feature(polygon(SQUARE, HOLE)),
        [feature({"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE]]})],
        {"type": "FeatureCollection", "features": [feature(polygon(SQUARE, HOLE))]},
        {"type": "GeometryCollection", "geometries": [polygon(SQUARE, HOLE)]},
    ],
)
def test_outlines_of_every_kind_are_filled_and_their_holes_are_not(
    tmp_path: Path, content: object
) -> None:
    mask = read_mask(write(tmp_path / "a.geojson", content), ground()).inside
    assert mask.sum() == pytest.approx(30 * 20 - 10 * 5, rel=0.12)  # outlines lie on pixels
    assert mask[12, 12]
    assert not mask[17, 25]
    assert not mask[:9].any()
    assert not mask[:, 42:].any()


def test_where_two_outlines_overlap_there_is_tissue(tmp_path: Path) -> None:
    content = {"type": "GeometryCollection", "geometries": [polygon(SQUARE), polygon(SQUARE)]}
    assert read_mask(write(tmp_path / "a.json", content), ground()).inside[15, 20]


def test_our_own_outlines_come_back(tmp_path: Path) -> None:
    before = np.zeros(SHAPE, bool)
    before[8:40, 10:50] = True
    before[20:26, 20:30] = False
    path = tmp_path / "a.geojson"
    path.write_text(to_geojson(tissue_contours(Tissue(before, SCALE)), "a"))
    after = read_mask(path, ground()).inside
    assert (before != after).mean() < 0.05


def test_a_picture_of_any_size_is_a_mask(tmp_path: Path) -> None:
    picture = np.zeros((400, 480), np.uint8)
    picture[80:240, 80:320] = 255
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    mask = read_mask(tmp_path / "a.png", ground()).inside
    assert mask[10:30, 10:40].all()
    assert mask.sum() == 20 * 30


@pytest.mark.parametrize(("label", "extent"), [(0, "nothing"), (3, "everything")])
def test_a_picture_of_one_label_is_reported_with_both_counts(
    tmp_path: Path, label: int, extent: str
) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((100, 120), label, np.uint8))
    mask = read_mask(path, ground())
    (remark,) = mask.remarks
    num = 12_000 if label else 0
    assert remark.startswith(f"by its mask {extent} is tissue: {num:,} of 12,000 pixels of a.png")
    assert ("(--mask-background 3 if its upper left one is glass)" in remark) == bool(label)
    assert read_mask(path, ground(), MaskRules(background=("3",))).inside.any() == (label != 3)


def test_what_was_passed_over_is_told_reported_and_kept(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "s1.tif", stained(224, 448))
    content = [feature(polygon([[0, 0], [224, 0], [224, 224], [0, 224]])), feature(None)]
    settings = ExtractSettings(mask=write(tmp_path / "s1.geojson", content))
    reporter = Silent()
    report = extract([slide], tmp_path / "job", settings, reporter)
    (result,) = report.slides
    passed_over = "s1.geojson: without an area, passed over: 1 geometry that is null"
    assert (result.status, result.num_patches, result.remarks) == ("done", 1, (passed_over,))
    assert reporter.warnings == [f"s1: {passed_over}"]
    with h5py.File(report.features_folder / "s1.h5") as file:
        assert json.loads(file["features"].attrs["mask_remarks"]) == [passed_over]


def test_what_is_no_mask_is_refused_with_its_reason(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((100, 480), np.uint8))
    (tmp_path / "broken.png").write_text("no picture")
    point = {"type": "Point", "coordinates": [1, 2]}
    for path, said in [
        (tmp_path / "gone.geojson", "no such mask"),
        (tmp_path / "wide.png", "480 x 100, which is not of the shape of the slide, 960 x 800"),
        (tmp_path / "broken.png", "not a readable picture"),
        (write(tmp_path / "point.geojson", point), "nothing in it has an area: 1 Point"),
        (write(tmp_path / "ring.geojson", polygon([[1, "x"]])), "no GeoJSON of polygons"),
        (write(tmp_path / "text.geojson", "text"), "must hold an object or a list"),
    ]:
        with pytest.raises(MaskError, match=said):
            read_mask(path, ground())


def test_only_outlined_patches_are_extracted_and_a_slide_without_mask_fails(
    cmu: Path, lung: list[Path], tmp_path: Path
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    square = [[448, 448], [1344, 448], [1344, 1344], [448, 1344], [448, 448]]
    write(masks / f"{cmu.stem}.geojson", polygon(square))
    report = extract([cmu, lung[0]], tmp_path / "job", ExtractSettings(mask=masks, min_tissue=0.99))
    status = {slide.slide_id: slide.status for slide in report.slides}
    assert status == {cmu.stem: "done", lung[0].stem: "failed"}
    assert "no such mask" in (report.failed[0].reason or "")
    with h5py.File(report.features_folder / f"{cmu.stem}.h5") as file:
        coords = file["coords"][:]
    assert len(coords) in (9, 16)  # 4 x 4 patches, or those whose edges round inwards
    assert coords.min() >= 440
    assert (coords + 224).max() <= 1352
