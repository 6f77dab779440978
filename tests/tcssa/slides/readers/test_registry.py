"""Which reader is taken, and what plug-ins can and cannot do."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from slide_files import Pixels, stained, write_slide

from tcssa.errors import SlideError, UnknownNameError
from tcssa.reporter import Silent
from tcssa.slides.image.slide import Slide
from tcssa.slides.readers.registry import all_readers, check_readers

PLUGIN = """
import numpy as np


class Backend:
    level_dimensions = ((400, 300), (200, 150))
    level_downsamples = (1.0, 2.0)
    mpp = (0.25, 0.25)
    objective_power = None

    def read_region(self, x, y, level, width, height):
        if x > 300:
            raise KeyError("no such tile")
        return np.full((height, width, 3), 7, np.uint8)

    def close(self):
        pass


class Reader:
    name = "sevens"

    def accepts(self, path):
        return path.read_bytes().startswith(b"SEVENS")

    def open(self, path):
        return Backend()


class Failing(Reader):
    name = "failing"

    def accepts(self, path):
        raise RuntimeError("out of order")


reader, failing, nameless, second = Reader(), Failing(), object(), Reader()
second.name = "openslide"
"""

Install = Callable[[dict[str, str]], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution of plug-ins, as pip leaves one behind."""
    site = tmp_path / "site"
    (site / "sevens_tcssa-1.0.dist-info").mkdir(parents=True)
    (site / "sevens_tcssa.py").write_text(PLUGIN)

    def write(points: dict[str, str]) -> None:
        folder = site / "sevens_tcssa-1.0.dist-info"
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: sevens-tcssa\nVersion: 1\n")
        lines = "\n".join(f"{name} = {value}" for name, value in points.items())
        (folder / "entry_points.txt").write_text(f"[tcssa.readers]\n{lines}\n")
        all_readers.cache_clear()

    monkeypatch.syspath_prepend(site)
    yield write
    all_readers.cache_clear()
    sys.modules.pop("sevens_tcssa", None)


def test_the_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    pixels = stained(300, 320)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.svs")
    write_slide(tmp_path / "b.tif", pixels).rename(tmp_path / "b.png")
    for name, mpp in [("a.svs", None), ("b.png", (0.5, 0.5))]:
        with Slide(tmp_path / name) as slide:
            np.testing.assert_array_equal(slide.read_level(0, 0, 0, 320, 300), pixels)
            found = slide._backend.mpp
            assert found == (None if mpp is None else pytest.approx(mpp, rel=1e-6))


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "s.svs").touch()
    with pytest.raises(SlideError, match=r"s\.svs: is empty: 0 bytes"):
        Slide(tmp_path / "s.svs")


def test_a_forced_reader_is_taken_or_tells_why_not(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.tif", stained(300, 320))
    picture = tmp_path / "b.png"
    Image.fromarray(stained(30, 30)).save(picture)
    for path, reader, reason in [
        (picture, "openslide", "no slide that OpenSlide can read"),
        (slide, "image", "tiled TIFF"),
        (slide, "zarr", "no OME-Zarr"),
        (slide, "cucim", "cucim"),
    ]:
        with pytest.raises(SlideError, match=reason):
            Slide(path, reader)
    with pytest.raises(UnknownNameError) as caught:
        Slide(slide, "openslid")
    assert caught.value.hint == "did you mean openslide?"


def test_a_plugin_reads_its_format(tmp_path: Path, install: Install) -> None:
    install({"sevens": "sevens_tcssa:reader"})
    path = tmp_path / "a.sevens"
    path.write_bytes(b"SEVENS!")
    with Slide(path) as slide:
        assert slide.resolution().mpp == 0.25
        assert slide.best_level(2) == 1
        assert (slide.read_patch(0, 0, 64, 32) == 7).all()
        with pytest.raises(SlideError, match="no such tile"):
            slide.read_patch(301, 0, 64, 32)
        slide.reopen()
        assert (slide.read_patch(0, 0, 64, 32) == 7).all()


def test_openslide_is_asked_before_plugins(
    tmp_path: Path, install: Install, levels: list[Pixels]
) -> None:
    install({"failing": "sevens_tcssa:failing"})
    with Slide(write_slide(tmp_path / "a.tif", levels[0])) as slide:
        assert slide.dimensions == (1000, 904)
    text = tmp_path / "a.txt"
    text.write_text("nothing")
    with pytest.raises(SlideError, match=r"reader failing fails to tell.*out of order"):
        Slide(text)


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ("no_such_module:reader", "No module named"),
        ("sevens_tcssa:absent", "absent"),
        ("sevens_tcssa:nameless", "has no name, accepts, open"),
        ("sevens_tcssa:second", "called 'openslide' already"),
    ],
)
def test_a_broken_plugin_is_one_warning_with_its_distribution(
    tmp_path: Path, install: Install, point: str, reason: str
) -> None:
    install({"broken": point})
    reporter = Silent()
    check_readers(None, reporter)
    (warning,) = reporter.warnings
    assert "'broken' of sevens-tcssa is left out" in warning
    assert reason in warning
    assert "\n" not in warning
    with Slide(write_slide(tmp_path / "a.tif", stained(300, 300))) as slide:
        assert slide.dimensions == (300, 300)
