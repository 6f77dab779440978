"""Patches as QuPath reads them."""

import json
from pathlib import Path

import numpy as np

from tcssa.reports.patches_geojson import write_detections


def test_each_patch_is_a_closed_square_with_its_class(tmp_path: Path) -> None:
    path = tmp_path / "s.geojson"
    write_detections(
        path, np.array([[10, 20], [30, 20]]), 20, ["a", "b"], [{"x": 1.0}, {"x": 2.0}],
        colours={"a": (1.0, 0.0, 0.0), "b": (0.0, 0.0, 1.0)},
    )  # fmt: skip
    first, second = json.loads(path.read_text())["features"]
    assert first["geometry"]["coordinates"] == [[[10, 20], [30, 20], [30, 40], [10, 40], [10, 20]]]
    assert second["properties"]["classification"] == {"name": "b", "color": [0, 0, 255]}
    assert second["properties"]["measurements"] == {"x": 2.0}
