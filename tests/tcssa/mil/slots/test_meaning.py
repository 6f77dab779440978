"""What slots tell of the labels of patches, and whether two models find the same ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slot_runs import patches_of, planted_model, slide_of

from tcssa.errors import FileError, TableError
from tcssa.mil.slots.meaning import information, meaning_of, stability
from tcssa.mil.slots.outlined_patches import UNKNOWN
from tcssa.mil.slots.patch_labels import read_patch_labels
from tcssa.mil.slots.routed import RoutedSlide, route
from tcssa.reporter import Silent
from tcssa.slides.image.places import Places


def routed(counts: list[int], name: str = "s") -> RoutedSlide:
    """A slide of which ``counts[k]`` patches go to slot k, in this order."""
    return route(planted_model(), torch.from_numpy(patches_of(counts)), slide_of(name), 0)


def test_a_slot_of_each_label_tells_all_and_equal_shares_tell_nothing() -> None:
    assert information(np.array([[10, 0], [0, 30]])) == pytest.approx(1)
    assert information(np.array([[5, 5], [20, 20]])) == pytest.approx(0)
    assert information(np.array([[5, 0], [20, 0]])) is None
    # of 12 patches in 30 the slot leaves open which they are, one to five
    left = 0.4 * (np.log(6) / 6 + 5 * np.log(6 / 5) / 6)
    of_labels = np.log(3) / 3 + 2 * np.log(3 / 2) / 3
    three = information(np.array([[8, 0], [2, 10], [0, 10]]))
    assert three == pytest.approx(1 - left / of_labels)


def test_planted_slots_are_found_as_detectors() -> None:
    slide = routed([4, 6, 2, 0])
    labels = {"s": np.repeat([0, 1, UNKNOWN], [4, 6, 2])}
    found = meaning_of([slide], labels, 2)
    assert (found.num_labelled, found.purity) == (10, 1.0)
    assert found.information == pytest.approx(1)
    assert found.detectors == [(0, 1.0), (1, 1.0)]


def test_renumbered_slots_are_the_same_slots() -> None:
    one = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    other = np.array([2, 2, 0, 0, 3, 3, 1, 1])
    found = stability(one, other, ("a", "b"), 4)
    assert (found.agreement, found.partners) == (1.0, [2, 0, 3, 1])
    other[0] = 0
    assert stability(one, other, ("a", "b"), 4).agreement == 7 / 8


@pytest.mark.parametrize(
    "text",
    [
        "slide_id,patch,label\ns,0,tumour\ns,2,normal\nelsewhere,0,tumour\n",
        "slide_id,x,y,label\ns,0,64,tumour\ns,128,64,normal\n",
    ],
)
def test_labels_come_by_row_or_by_corner(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    places = {"s": Places(np.stack([np.arange(3) * 64, np.full(3, 64)], axis=1), 64)}
    names, labels = read_patch_labels(
        tmp_path / "labels.csv", [routed([1, 1, 1, 0])], places, Silent()
    )
    assert names == ["normal", "tumour"]
    assert labels["s"].tolist() == [1, UNKNOWN, 0]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("slide_id,patch,label\ns,3,tumour\n", "line 2: there is no such patch"),
        ("slide_id,patch,label\ns,one,tumour\n", "line 2: there is no such patch"),
        ("slide_id,patch,label\ns,0,a\ns,0,b\n", "line 3: the patch has a label already"),
        ("slide_id,label\ns,a\n", "needs columns slide_id, label and patch"),
        ("slide_id,patch,label\nother,0,a\n", "labels no patch of the run's test slides"),
        ("slide_id,x,y,label\ns,1,64,tumour\n", "line 2: there is no such patch"),
    ],
)
def test_labels_of_no_patch_are_named(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    places = {"s": Places(np.stack([np.arange(3) * 64, np.full(3, 64)], axis=1), 64)}
    with pytest.raises(TableError, match=match):
        read_patch_labels(tmp_path / "labels.csv", [routed([1, 1, 1, 0])], places, Silent())


def area(name: str | None, left: int, right: int) -> dict[str, Any]:
    """A rectangle over whole columns of the row of patches, as QuPath exports it."""
    ring = [[left, 0], [right, 0], [right, 64], [left, 64], [left, 0]]
    properties = {} if name is None else {"classification": {"name": name, "color": [1, 2, 3]}}
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def write_areas(folder: Path, *features: dict[str, Any]) -> Path:
    content = {"type": "FeatureCollection", "features": list(features)}
    (folder / "s.geojson").write_text(json.dumps(content))
    return folder


def test_patches_are_of_the_area_that_their_centre_lies_in(tmp_path: Path) -> None:
    places = {"s": Places(np.stack([np.arange(5) * 64, np.zeros(5, int)], axis=1), 64)}
    slides, heard = [routed([2, 2, 1, 0])], Silent()
    folder = write_areas(
        tmp_path,
        area("tumour", 0, 150),  # two patches, and less than half of the third
        area("stroma", 90, 240),  # the centre of the second is at 96
        area(None, 240, 320),
    )
    names, labels = read_patch_labels(folder, slides, places, heard)
    assert names == ["stroma", "tumour"]
    assert labels["s"].tolist() == [1, UNKNOWN, 0, 0, UNKNOWN]
    assert heard.warnings == ["patches in areas of two labels, which count for none: 1"]


def test_areas_that_label_nothing_are_named(tmp_path: Path) -> None:
    places = {"s": Places(np.stack([np.arange(5) * 64, np.zeros(5, int)], axis=1), 64)}
    slides = [routed([2, 2, 1, 0])]
    with pytest.raises(TableError, match=r"has no S\.geojson of a test slide"):
        read_patch_labels(tmp_path, slides, places, Silent())
    write_areas(tmp_path, area(None, 0, 64))
    with pytest.raises(FileError, match=r"s\.geojson: has no area with a classification"):
        read_patch_labels(tmp_path, slides, places, Silent())
    (tmp_path / "s.geojson").write_text("[")
    with pytest.raises(FileError, match=r"s\.geojson"):
        read_patch_labels(tmp_path, slides, places, Silent())
