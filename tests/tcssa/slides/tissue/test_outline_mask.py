"""Outlines as people's files have them: classes, holes, points beside them, and off the slide."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcssa.slides.image.thumbnail import Thumbnail
from tcssa.slides.tissue.ground import Ground, Mask, MaskError, MaskRules
from tcssa.slides.tissue.masks import read_mask

SIDE, SCALE = 60, 10.0


def ground(side: int = SIDE, scale: float = SCALE) -> Ground:
    """A square slide of glass."""
    picture = np.full((side, side, 3), 240, np.uint8)
    return Ground(Thumbnail(picture, scale, np.zeros((side, side), bool)), (int(side * scale),) * 2)


def box(left: float, top: float, right: float, bottom: float) -> dict[str, Any]:
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    return {"type": "Polygon", "coordinates": [ring]}


def feature(geometry: object, classification: object = None) -> dict[str, object]:
    properties = {"objectType": "annotation"}
    if classification is not None:
        properties["classification"] = classification
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def masked(path: Path, *features: object, classes: tuple[str, ...] = (), bom: bool = False) -> Mask:
    text = json.dumps({"type": "FeatureCollection", "features": features})
    path.write_text(text, "utf-8-sig" if bom else "utf-8")
    return read_mask(path, ground(), MaskRules(classes=classes))


GOOD = feature(box(0, 0, 300, 300), {"name": "Tumor"})


@pytest.mark.parametrize(
    ("beside", "counted"),
    [
        ({"type": "Point", "coordinates": [5, 5]}, "1 Point"),
        ({"type": "MultiPoint", "coordinates": [[5, 5], [9, 9]]}, "1 MultiPoint"),
        ({"type": "LineString", "coordinates": [[5, 5], [90, 90]]}, "1 LineString"),
        ({"type": "MultiLineString", "coordinates": [[[5, 5], [9, 9]]]}, "1 MultiLineString"),
        ({"type": "Polygon", "coordinates": []}, "1 Polygon without points"),
        (
            {"type": "Polygon", "coordinates": [[[5, 5], [9, 9]]]},
            "1 Polygon of fewer than 3 points",
        ),
        ({"type": "GeometryCollection", "geometries": [{"type": "Point"}] * 2}, "2 Point"),
        (None, "1 geometry that is null"),
    ],
)
@pytest.mark.parametrize("bom", [False, True])
def test_what_has_no_area_is_passed_over_and_counted(
    tmp_path: Path, beside: object, counted: str, bom: bool
) -> None:
    mask = masked(tmp_path / "S.geojson", GOOD, feature(beside), bom=bom)
    assert mask.inside[:30, :30].all()
    assert mask.inside.sum() <= 31**2
    assert mask.remarks == (f"S.geojson: without an area, passed over: {counted}",)
    with pytest.raises(MaskError, match=f"nothing in it has an area: {counted}"):
        masked(tmp_path / "S.geojson", feature(beside))


@pytest.mark.parametrize("name", ["Ignore*", "Ignore", "ignore*: pen"])
@pytest.mark.parametrize("is_first", [False, True])
def test_areas_to_ignore_are_holes_of_all_others(tmp_path: Path, name: str, is_first: bool) -> None:
    hole = feature(box(100, 100, 200, 200), {"name": name})
    features = [hole, GOOD] if is_first else [GOOD, hole]
    mask = masked(tmp_path / "S.geojson", *features)
    assert mask.inside[5, 5]
    assert not mask.inside[11:19, 11:19].any()
    assert mask.remarks == (f"S.geojson: outlines taken for holes: 1 {name}",)
    assert mask.classes == ("Tumor",)
    chosen = masked(tmp_path / "S.geojson", *features, classes=(name,))
    assert chosen.inside[11:19, 11:19].all()
    assert not chosen.inside[5, 5]


@pytest.mark.parametrize(
    "of_stroma",
    ["Stroma", {"name": "Stroma"}, {"names": ["Stroma"]}],
    ids=["text", "name", "names"],
)
def test_classes_are_chosen_by_name_and_the_others_are_told(
    tmp_path: Path, of_stroma: object
) -> None:
    stroma = feature(box(400, 400, 500, 500), of_stroma)
    features = [GOOD, stroma, feature(box(0, 500, 100, 600))]
    every = masked(tmp_path / "S.geojson", *features)
    assert every.inside[5, 5]
    assert every.inside[45, 45]
    assert every.inside[55, 5]
    assert every.classes == ("Stroma", "Tumor")
    assert "all classes are tissue: 1 Tumor, 1 Stroma, 1 without a class" in every.remarks[0]
    one = masked(tmp_path / "S.geojson", *features, classes=("Stroma", "Mucosa"))
    assert one.inside[45, 45]
    assert one.inside.sum() <= 11**2
    assert one.classes == ("Stroma",)
    assert one.remarks == (
        "S.geojson: outlines of other classes, left out: 1 Tumor, 1 without a class",
        "S.geojson: no outline has the class Mucosa",
    )


def test_a_mask_of_which_nothing_or_everything_remains_is_reported(tmp_path: Path) -> None:
    none = masked(tmp_path / "S.geojson", GOOD, classes=("tumor",))
    assert not none.inside.any()
    assert none.remarks[-1] == "by its mask nothing is tissue: 0 of 1 outlines of S.geojson"
    assert not masked(tmp_path / "S.geojson").inside.any()  # nothing was outlined
    whole = masked(tmp_path / "S.geojson", feature(box(0, 0, 600, 600)))
    assert whole.inside.all()
    assert whole.remarks == ("by its mask everything is tissue: 1 of 1 outlines of S.geojson",)


def test_outlines_off_the_slide_are_named(tmp_path: Path) -> None:
    far = feature(box(40_000, 50_000, 45_000, 55_000))
    over = feature(box(550, 550, 700, 590))
    mask = masked(tmp_path / "S.geojson", GOOD, far, feature(box(-90, 0, -20, 50)), over)
    assert mask.inside[56, 58]
    assert mask.remarks == (
        "S.geojson: outlines of all classes are tissue: 1 Tumor, 3 without a class "
        "(--mask-class NAME chooses)",
        "S.geojson: outlines outside the slide, left out: 2 of 4; the first one spans x 40000 to "
        "45000, y 50000 to 55000",
        "S.geojson: outlines that reach beyond the slide's edge: 1 of 4",
    )
    with pytest.raises(MaskError, match="its outline lies outside the slide, whose size is 600 x"):
        masked(tmp_path / "S.geojson", far)


def test_twenty_thousand_polygons_take_a_second_or_two(tmp_path: Path) -> None:
    corners = np.random.default_rng(0).integers(0, 39_000, (20_000, 2)).tolist()
    cells = [feature(box(x, y, x + 120, y + 120), {"name": "Cell"}) for x, y in corners]
    path = tmp_path / "S.geojson"
    path.write_text(json.dumps(cells))
    said: list[str] = []
    begin = time.process_time()
    mask = read_mask(path, ground(2000, 20.0), say=said.append)
    assert time.process_time() - begin < 10  # 100,000 in less than a minute
    assert 0.05 < mask.inside.mean() < 0.5
    assert said[0] == "20,000 outlines"
    assert said[-1] == "10,000 of 20,000 outlines"
