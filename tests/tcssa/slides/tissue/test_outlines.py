import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tcssa.slides.image.thumbnail import Thumbnail
from tcssa.slides.tissue.ground import Ground, MaskError
from tcssa.slides.tissue.masks import read_mask

SHAPE, SCALE, SLIDE = (50, 60), 10.0, (600, 500)


def ground(
    shape: tuple[int, int] = SHAPE, scale: float = SCALE, slide: tuple[int, int] = SLIDE
) -> Ground:
    """A slide of glass."""
    picture = np.full((*shape, 3), 240, np.uint8)
    return Ground(Thumbnail(picture, scale, np.zeros(shape, bool)), slide)


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def polygons(found: object) -> dict[str, object]:
    return {"type": "MultiPolygon", "coordinates": found}


def drawn_whole(found: list[list[list[list[float]]]]) -> NDArray[np.bool_]:
    """Each polygon on a picture of its own, as large as the slide's."""
    mask = np.zeros(SHAPE, np.uint8)
    for rings in found:
        one = np.zeros(SHAPE, np.uint8)
        for number, ring in enumerate(rings):
            points = np.rint(np.array(ring) / SCALE - 0.5).astype(np.int32)
            cv2.fillPoly(one, [points], int(number == 0))
        mask |= one
    return mask > 0


def test_polygons_filled_within_their_bounds_are_those_filled_whole(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for _ in range(100):
        found = [[[[100.0, 100.0], [180.0, 100.0], [180.0, 140.0]]]]  # one is on the slide
        for _ in range(random.integers(1, 4)):
            outer = random.uniform(-250, 800, (random.integers(3, 9), 2))
            low, high = outer.min(axis=0), outer.max(axis=0)
            holes = [random.uniform(low, high, (4, 2)) for _ in range(random.integers(0, 3))]
            found.append([ring.tolist() for ring in (outer, *holes)])
        path = write(tmp_path / "a.geojson", polygons(found))
        np.testing.assert_array_equal(read_mask(path, ground()).inside, drawn_whole(found))


@pytest.mark.parametrize("far", ["3e10", "-5e10", "1e308", "1e999", "NaN", "1" + "0" * 30, "1300"])
def test_a_point_far_outside_of_the_slide_is_named(tmp_path: Path, far: str) -> None:
    text = '{"type": "Polygon", "coordinates": [[[0, 0], [500, %s], [500, 500]]]}'
    path = write(tmp_path / "a.geojson", text % far)
    with pytest.raises(MaskError, match=r"the point \(500, .*lies far outside of the slide.*600 x"):
        read_mask(path, ground())


def test_a_point_somewhat_outside_of_the_slide_is_none_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson", polygons([[[[-500, -400], [1100, -400], [300, 900]]]]))
    assert 0.5 < read_mask(path, ground()).inside.mean() < 1


RING: list[list[int]] = [[0, 0], [500, 0], [500, 500]]
POINTS = '{"type": "Polygon", "coordinates": [[[0, 0], [500, %s], [500, 500]]]}'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"type":"Feature","geometry":' * 70 + "null" + "}" * 70, "70 levels of nesting"),
        ("", "not valid JSON"),
        ("5", "must hold an object or a list"),
        ("\0", "not text"),
        ([1], "an object without a type"),
        ({"type": []}, "an object without a type"),
        ({"type": "Feature"}, "nothing in it has an area: 1 geometry that is null"),
        ({"type": "FeatureCollection", "features": {}}, "a FeatureCollection without features"),
        ({"type": "GeometryCollection"}, "a GeometryCollection without geometries"),
        ({"type": "LineString", "coordinates": RING}, "nothing in it has an area: 1 LineString"),
        ({"type": "Polygon"}, "a Polygon without rings"),
        ({"type": "Polygon", "coordinates": 5}, "a Polygon without rings"),
        ({"type": "Polygon", "coordinates": RING}, "a point is no list of numbers"),
        ({"type": "Polygon", "coordinates": [RING, []]}, "a ring is no list of points"),
        ({"type": "Polygon", "coordinates": [[RING]]}, "a point is no list of numbers"),
        (polygons([[]]), "a MultiPolygon without rings"),
        (POINTS % "true", "a point is no list of numbers"),
        (POINTS % '"5"', "a point is no list of numbers"),
        (POINTS % "null", "a point is no list of numbers"),
        (POINTS % ("1" + "0" * 400), "too large"),
        (POINTS % ("1" * 5000), "not valid JSON"),
    ],
)
def test_what_is_no_polygon_is_told_in_one_line(
    tmp_path: Path, content: object, reason: str
) -> None:
    with pytest.raises(MaskError, match=reason) as caught:
        read_mask(write(tmp_path / "a.geojson", content), ground())
    assert len(str(caught.value)) <= 300
    assert "a.geojson" in str(caught.value)


def test_many_small_polygons_take_no_picture_each(tmp_path: Path) -> None:
    corners = np.random.default_rng(0).integers(0, 399_000, (10_000, 2)).tolist()
    small = [[[[x, y], [x + 500, y], [x + 500, y + 500], [x, y + 500]]] for x, y in corners]
    path = write(tmp_path / "a.geojson", polygons(small))
    begin = time.monotonic()
    mask = read_mask(path, ground((4096, 4096), 400_000 / 4096, (400_000, 400_000))).inside
    assert 10_000 < mask.sum() < 10_000 * 64
    assert time.monotonic() - begin < 20  # a picture each: several minutes


def test_outlines_that_take_minutes_to_fill_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [[0, 0], [400_000, 0], [400_000, 400_000], [0, 400_000]]
    zigzag = [[x * 10, 400_000 * (x % 2)] for x in range(40_000)]
    for name, found in [("many", [[whole]] * 1000), ("zigzag", [[zigzag]])]:
        path = write(tmp_path / f"{name}.geojson", polygons(found))
        with pytest.raises(MaskError, match="pixels that its outlines cover") as caught:
            read_mask(path, ground((4096, 4096), 400_000 / 4096, (400_000, 400_000)))
        assert "TCSSA_MAX_OUTLINE_PIXELS" in (caught.value.hint or "")
    monkeypatch.setenv("TCSSA_MAX_OUTLINE_PIXELS", str(10**12))
    small = read_mask(
        tmp_path / "many.geojson", ground((16, 16), 25_000, (400_000, 400_000))
    ).inside
    assert small.all()
