"""The comparison plot: every system is on it, where it belongs."""

from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from tcssa.vqa.evaluation.plots import System, comparison_figure, plot_accuracy

SYSTEMS = [
    System("small", 0.55, 1, 0.5, 0.6),
    System("slots", 0.62, 32, 0.58, 0.66),
    System("sample", 0.615, 32, 0.57, 0.65),
    System("published", 0.81, 4000, published=True),
    System("closed", 0.58, None, published=True),
]


def labels(figure: Figure) -> dict[str, tuple[int, float]]:
    """Panel and height of every label."""
    figure.canvas.draw()
    return {
        text.get_text(): (panel, text.get_window_extent().y0)
        for panel, axes in enumerate(figure.axes)
        for text in axes.texts
    }


def test_every_system_has_its_label_and_unknown_sizes_stand_apart() -> None:
    found = labels(comparison_figure(SYSTEMS, {"majority letter": 0.41}, title="a benchmark"))
    assert found["slots 62.0"][0] == found["published 81.0"][0] == 0
    assert found["closed 58.0"][0] == 1
    assert "majority letter 41.0" in found


def test_labels_of_equal_systems_do_not_cover_each_other() -> None:
    found = labels(comparison_figure(SYSTEMS, {}, title="a benchmark"))
    assert abs(found["slots 62.0"][1] - found["sample 61.5"][1]) > 9


def test_near_floors_share_a_label() -> None:
    floors = {"longest": 0.408, "letter": 0.414, "text": 0.64, "word": 0.64}
    found = labels(comparison_figure(SYSTEMS[:1], floors, title="a benchmark"))
    assert "letter 41.4, longest 40.8" in found
    assert "text, word 64.0" in found


def test_the_picture_is_written(tmp_path: Path) -> None:
    plot_accuracy(tmp_path / "plot.png", SYSTEMS[:1], {}, title="one system")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.size[0] > 800
