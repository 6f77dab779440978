"""Outlines of the tissue."""

import json

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.slides.tissue.contours import Contour, tissue_contours, to_geojson
from tcssa.slides.tissue.tissue import Tissue


def blobs(seed: int = 3) -> NDArray[np.bool_]:
    """Pieces of tissue of any form, with holes."""
    noise = np.random.default_rng(seed).random((60, 80)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.asarray(smooth > np.median(smooth))


def area(points: NDArray[np.float64]) -> float:
    x, y = points.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def test_every_piece_has_one_outline_and_each_hole_one_of_its_own() -> None:
    mask = blobs()
    contours = tissue_contours(Tissue(mask, 4.0))
    pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    gaps, labels = cv2.connectedComponents((~mask).astype(np.uint8), connectivity=4)
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    holes = gaps - 1 - len(set(rim[rim > 0].tolist()))
    assert pieces > 3
    assert holes > 0
    assert len(contours) == pieces
    assert sum(len(contour.holes) for contour in contours) == holes


def test_filled_outlines_are_the_tissue_again() -> None:
    mask, scale = blobs(), 16
    canvas = np.zeros((60 * scale, 80 * scale), np.uint8)
    for contour in tissue_contours(Tissue(mask, float(scale))):
        rings = [np.rint(ring).astype(np.int32) for ring in (contour.outline, *contour.holes)]
        cv2.fillPoly(canvas, rings, 1)
    centres = canvas[scale // 2 :: scale, scale // 2 :: scale] > 0
    assert np.array_equal(centres, mask)


def test_tissue_within_a_hole_is_a_piece_of_its_own() -> None:
    mask = np.zeros((50, 50), bool)
    mask[5:45, 5:45] = True
    mask[10:40, 10:40] = False
    mask[20:30, 20:30] = True
    contours = sorted(tissue_contours(Tissue(mask, 8.0)), key=lambda each: area(each.outline))
    island, ring = contours
    assert island.holes == []
    assert len(ring.holes) == 1
    assert abs(area(island.outline) / (80 * 80) - 1) < 0.11
    assert abs(area(ring.outline) / (320 * 320) - 1) < 0.03


def test_a_single_pixel_is_outlined_where_it_lies() -> None:
    mask = np.zeros((9, 9), bool)
    mask[6, 2] = True
    (contour,) = tissue_contours(Tissue(mask, 10.0))
    assert contour.outline.min(axis=0).tolist() == [22.5, 62.5]
    assert contour.outline.max(axis=0).tolist() == [27.5, 67.5]


def test_rings_of_a_geojson_are_closed_and_its_pieces_numbered() -> None:
    square = np.array([[0.0, 0.0], [0.0, 9.04], [9.0, 9.0]])
    content = json.loads(to_geojson([Contour(square, []), Contour(square, [square + 1])], "é"))
    assert content["name"] == "é"
    assert [each["properties"]["tissue_id"] for each in content["features"]] == [0, 1]
    first, second = (each["geometry"]["coordinates"] for each in content["features"])
    assert first == [[[0, 0], [0, 9], [9, 9], [0, 0]]]
    assert second[1] == [[1, 1], [1, 10], [10, 10], [1, 1]]
