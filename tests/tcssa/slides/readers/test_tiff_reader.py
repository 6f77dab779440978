"""TIFFs that hold more than one picture, or one that is too large to hold."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from slide_files import Pixels, stained, write_slide

from tcssa.errors import SlideError
from tcssa.slides import ExtractSettings, extract
from tcssa.slides.image.slide import Slide

PIXELS = stained(420, 500)
MPP = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
RGB: dict[str, Any] = {"photometric": "rgb", "tile": (128, 128)}
GREY: dict[str, Any] = {"photometric": "minisblack", "tile": (128, 128)}


def ome(path: Path, *images: tuple[Pixels, dict[str, Any], dict[str, Any]]) -> Path:
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for pixels, written, metadata in images:
            tiff.write(pixels, **written, metadata={**MPP, **metadata})
    return path


def channels(path: Path, names: list[str] | None, pixels: Pixels = PIXELS) -> Path:
    named = {} if names is None else {"Channel": {"Name": names}}
    return ome(path, (pixels.transpose(2, 0, 1), GREY, {"axes": "CYX", **named}))


def pages(path: Path, *written: tuple[Pixels, dict[str, Any]]) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for pixels, options in written:
            tiff.write(pixels, metadata=None, software=False, **options)
    return path


def read_all(slide: Slide) -> Pixels:
    return slide.read_level(0, 0, 0, *slide.dimensions)


@pytest.mark.parametrize(
    ("names", "order"), [(["Red", "Green", "Blue"], [0, 1, 2]), (["b", "g", "r"], [2, 1, 0])]
)
def test_channels_that_are_pages_are_colours_by_their_names(
    tmp_path: Path, names: list[str], order: list[int]
) -> None:
    path = channels(tmp_path / "a.ome.tif", names, np.ascontiguousarray(PIXELS[..., order]))
    with Slide(path) as slide:
        np.testing.assert_array_equal(read_all(slide), PIXELS)
        assert slide.resolution().mpp == 0.25
        assert slide.remarks == ()


def test_features_do_not_depend_on_how_colours_are_stored(tmp_path: Path) -> None:
    rgb = write_slide(tmp_path / "rgb.tif", PIXELS, mpp=0.25)
    as_pages = channels(tmp_path / "pages.ome.tif", ["Red", "Green", "Blue"])
    report = extract(
        [rgb, as_pages], tmp_path / "job", ExtractSettings(device="cpu", patch_size=64)
    )
    assert report.count("done") == 2, report.failed
    from tcssa.features import open_bag

    bags = []
    for name in ("rgb", "pages"):
        with open_bag(report.features_folder / f"{name}.h5") as bag:
            bags.append((bag.read(), bag.read_coords()))
    for ours, theirs in zip(*bags, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("names", [["DAPI", "FITC", "Cy5"], ["Red", "Green", "DAPI"], None])
def test_channels_that_are_no_colours_are_refused(tmp_path: Path, names: list[str] | None) -> None:
    with pytest.raises(SlideError, match=r"3 grey channels \(.*not red, green and blue"):
        Slide(channels(tmp_path / "a.ome.tif", names))


def test_channels_without_names_are_colours_by_their_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    colours = {"Channel": {"Color": [-16776961, 16711935, 65535]}}
    ome(path, (PIXELS.transpose(2, 0, 1), GREY, {"axes": "CYX", **colours}))
    with Slide(path) as slide:
        np.testing.assert_array_equal(read_all(slide), PIXELS)


def test_levels_within_a_page_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    half = np.ascontiguousarray(PIXELS[::2, ::2])
    with tifffile.TiffWriter(path, ome=True) as tiff:
        metadata = {**MPP, "axes": "CYX", "Channel": {"Name": ["Red", "Green", "Blue"]}}
        tiff.write(PIXELS.transpose(2, 0, 1), **GREY, subifds=1, metadata=metadata)
        tiff.write(half.transpose(2, 0, 1), **GREY, subfiletype=1)
    with Slide(path) as slide:
        assert slide.level_dimensions == ((500, 420), (250, 210))
        np.testing.assert_array_equal(slide.read_level(0, 0, 1, 250, 210), half)


def test_the_largest_scene_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    other = stained(300, 310, seed=2)
    path = ome(
        tmp_path / "a.ome.tif",
        (stained(90, 90, seed=1), RGB, {"axes": "YXS", "Name": "macro"}),
        (PIXELS, RGB, {"axes": "YXS", "Name": "tissue 1"}),
        (other, RGB, {"axes": "YXS", "Name": "tissue 2"}),
    )
    with Slide(path) as slide:
        np.testing.assert_array_equal(read_all(slide), PIXELS)
        (remark,) = slide.remarks
    assert "3 scenes (0: macro, 90 x 90; 1: tissue 1, 500 x 420; 2: tissue 2, 310 x 300)" in remark
    with Slide(path, scene=2) as slide:
        np.testing.assert_array_equal(read_all(slide), other)
        assert slide.remarks == ()
    with pytest.raises(SlideError, match="no scene 3"):
        Slide(path, scene=3)


def test_focal_planes_are_named(tmp_path: Path) -> None:
    planes = np.stack([PIXELS, 255 - PIXELS])
    path = ome(tmp_path / "a.ome.tif", (planes, RGB, {"axes": "ZYXS"}))
    with Slide(path) as slide:
        np.testing.assert_array_equal(read_all(slide), PIXELS)
        assert "z = 1" in slide.remarks[0]
    with Slide(path, scene=1) as slide:
        np.testing.assert_array_equal(read_all(slide), 255 - PIXELS)


def test_what_was_left_out_is_told_and_stored(tmp_path: Path) -> None:
    path = pages(tmp_path / "a.tif", (PIXELS, RGB), (255 - PIXELS, RGB))
    settings = ExtractSettings(device="cpu", patch_size=128, slide_mpp=0.5, tissue="all")
    report = extract([path], tmp_path / "job", settings)
    assert "holds 2 scenes" in report.slides[0].remarks[0]
    from tcssa.features import open_bag

    with open_bag(report.features_folder / "a.h5") as bag:
        assert "scene 0 is read" in bag.attributes["remarks"]
    with pytest.raises(Exception, match="scene = None"):
        extract([path], tmp_path / "job", settings.model_copy(update={"scene": 1}))


@pytest.mark.parametrize("tile", [(64, 64), None])
def test_a_label_that_stands_first_is_not_the_slide(
    tmp_path: Path, tile: tuple[int, int] | None
) -> None:
    screen = {"resolution": (72, 72), "resolutionunit": "INCH"}
    scanned = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}
    label = {"photometric": "rgb", "tile": tile, **screen}
    path = pages(tmp_path / "a.tif", (stained(90, 200), label), (PIXELS, {**RGB, **scanned}),
                 (np.ascontiguousarray(PIXELS[::2, ::2]), RGB))  # fmt: skip
    with Slide(path) as slide:
        assert slide.level_dimensions == ((500, 420), (250, 210))
        assert slide.resolution().mpp == 0.25
        np.testing.assert_array_equal(read_all(slide), PIXELS)


@pytest.mark.parametrize("tile", [(128, 128), None])
def test_grey_pages_of_one_size_are_refused(tmp_path: Path, tile: tuple[int, int] | None) -> None:
    grey = {"photometric": "minisblack", "tile": tile}
    path = pages(tmp_path / "a.tif", *((PIXELS[..., c].copy(), grey) for c in range(3)),
                 (stained(90, 90), {"photometric": "rgb"}))  # fmt: skip
    with pytest.raises(SlideError, match="3 grey pages of one size"):
        Slide(path)


def test_a_flat_tiff_too_large_to_hold_is_read_by_strips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pages(tmp_path / "a.tif", (PIXELS, {"photometric": "rgb", "rowsperstrip": 16,
                                               "compression": "zlib"}))  # fmt: skip
    monkeypatch.setenv("TCSSA_MAX_PICTURE_PIXELS", "1000")
    with Slide(path) as slide:
        np.testing.assert_array_equal(read_all(slide), PIXELS)
        np.testing.assert_array_equal(slide.read_level(100, 90, 0, 64, 64), PIXELS[90:154, 100:164])


@pytest.mark.parametrize("tile", [(128, 128), None])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_more_than_8_bits_a_colour_are_refused(
    tmp_path: Path, dtype: type, tile: tuple[int, int] | None
) -> None:
    deep = PIXELS.astype(dtype)
    for number, path in enumerate([tmp_path / "a.tif", tmp_path / "b.ome.tif"]):
        tifffile.imwrite(path, deep, photometric="rgb", tile=tile, ome=bool(number))
        with pytest.raises(SlideError, match="bits a colour, and 8 are read"):
            Slide(path)


def test_a_compression_that_is_not_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("imagecodecs")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb", tile=(128, 128), compression="jpeg2000")
    monkeypatch.setitem(__import__("sys").modules, "tiffslide", None)  # as without the extra
    with pytest.raises(SlideError, match=r"compression 3\d+ \(JPEG 2000\) is not read") as caught:
        Slide(path)
    assert "tcssa[tiffslide]" in (caught.value.hint or "")


def test_a_scene_of_a_slide_that_has_one_picture_is_refused(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", PIXELS)
    with Slide(path, scene=0) as slide:
        assert slide.dimensions == (500, 420)
    with pytest.raises(SlideError, match="has no scene 1"):
        Slide(path, scene=1)
