"""Figures as files."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tcssa.reports.figures import INK, save_figure


def drawn() -> Figure:
    figure = Figure(figsize=(2, 1), layout="constrained")
    figure.add_subplot().plot([0, 1], color=INK)
    return figure


def test_a_figure_becomes_a_png_of_its_size_in_a_folder_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "plots" / "curve.png"
    save_figure(drawn(), path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size == (260, 130)
        pixels = np.asarray(picture.convert("RGB"))
    ink = np.array([int(INK[at : at + 2], 16) for at in (1, 3, 5)])
    assert (pixels == ink).all(axis=2).any()
    assert (pixels[0, 0] == 255).all()


def test_the_name_of_the_file_does_not_choose_its_format(tmp_path: Path) -> None:
    save_figure(drawn(), tmp_path / "curve.plot")
    assert (tmp_path / "curve.plot").read_bytes().startswith(b"\x89PNG")


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_figure(drawn(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_figure_that_cannot_be_drawn_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    path.write_bytes(b"old")
    broken = drawn()
    broken.text(0, 0, r"$\frac{$")
    with pytest.raises(ValueError, match="frac"):
        save_figure(broken, path)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]
