"""Slides beside their slots, as a picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tcssa.reports.slot_map import draw_slot_map


@pytest.mark.parametrize("title", ["S1", "What is it? 何ですか", r"is $\frac{5$ right?"])
def test_any_title_is_drawn_without_a_word(tmp_path: Path, title: str) -> None:
    thumbnail = np.full((40, 60, 3), 255, np.uint8)
    coords = np.array([[0, 0], [100, 0], [0, 100]])
    draw_slot_map(
        tmp_path / "map.png", thumbnail, 10, coords, 100, np.array([3, 3, 5]), title=title
    )
    with Image.open(tmp_path / "map.png") as image:
        colours = image.convert("RGB").getcolors(1 << 20) or []
    strong = [count for count, (r, g, b) in colours if max(r, g, b) - min(r, g, b) > 60]
    assert sum(strong) > 100  # two slots, in colour
