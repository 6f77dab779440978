"""Each reader against OpenSlide, on the same pixels."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_files import Pixels, stained, write_pyramid, write_slide, write_zarr

from tcssa.errors import MissingMppError, SlideError
from tcssa.slides import ExtractSettings, SlideFile, extract
from tcssa.slides.image.slide import Slide

# left, top, width, height in level-0 pixels: within, over each edge, wholly outside
WINDOWS = [(100, 200, 64, 48), (-32, -16, 96, 80), (960, 880, 96, 80), (2000, 40, 32, 32)]


def picture(path: Path, pixels: Pixels) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def flat_tiff(path: Path, pixels: Pixels, mpp: float) -> Path:
    tifffile.imwrite(
        path, pixels, photometric="rgb", resolution=(10_000 / mpp,) * 2, resolutionunit=3
    )
    return path


def assert_same_pixels(path: Path, reference: Path, *, reader: str | None = None) -> None:
    with Slide(path, reader) as ours, Slide(reference, "openslide") as theirs:
        assert ours.dimensions == theirs.dimensions
        assert ours.level_dimensions == theirs.level_dimensions[: len(ours.level_dimensions)]
        assert ours.downsamples == pytest.approx(
            theirs.downsamples[: len(ours.downsamples)], rel=1e-9
        )
        for level in range(len(ours.downsamples)):
            for x, y, width, height in WINDOWS:
                read = ours.read_level(x, y, level, width, height)
                np.testing.assert_array_equal(read, theirs.read_level(x, y, level, width, height))


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_a_plain_image_has_openslides_pixels(
    tmp_path: Path, levels: list[Pixels], suffix: str
) -> None:
    reference = write_slide(tmp_path / "a.tif", levels[0])
    path = picture(tmp_path / f"b.{suffix}", levels[0])
    assert_same_pixels(path, reference)
    with Slide(path) as slide, pytest.raises(MissingMppError):
        slide.resolution()


def test_a_jpeg_has_pillows_pixels(tmp_path: Path, levels: list[Pixels]) -> None:
    path = picture(tmp_path / "a.jpg", levels[0])
    with Slide(path) as slide:
        read = slide.read_level(0, 0, 0, 1000, 904)
    np.testing.assert_array_equal(read, np.asarray(Image.open(path)))


def test_a_flat_tiff_has_openslides_pixels_and_resolution(
    tmp_path: Path, levels: list[Pixels]
) -> None:
    reference = write_slide(tmp_path / "a.tif", levels[0], mpp=0.25)
    path = flat_tiff(tmp_path / "b.tif", levels[0], 0.25)
    assert_same_pixels(path, reference)
    with Slide(path) as slide:
        assert slide.resolution().mpp == pytest.approx(0.25, rel=1e-6)
        assert slide.resolution(0.4).mpp == 0.4


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["cyx", "yxc", "tczyx"])
def test_an_ome_zarr_has_openslides_pixels_levels_and_resolution(
    tmp_path: Path, levels: list[Pixels], version: str, axes: str
) -> None:
    pytest.importorskip("zarr")
    reference = write_pyramid(tmp_path / "a.tif", levels, mpp=0.25)
    path = write_zarr(tmp_path / "a.ome.zarr", levels, mpp=0.25, axes=axes, version=version)
    assert_same_pixels(path, reference)
    with Slide(path) as ours, Slide(reference) as theirs:
        assert len(ours.downsamples) == 3
        assert ours.resolution().mpp == pytest.approx(theirs.resolution().mpp, rel=1e-6)
        assert ours.slide_id == "a"


@pytest.mark.parametrize(("unit", "factor"), [("nanometer", 1e3), ("millimeter", 1e-3)])
def test_an_ome_zarrs_unit_is_heeded(
    tmp_path: Path, levels: list[Pixels], unit: str, factor: float
) -> None:
    pytest.importorskip("zarr")
    path = write_zarr(tmp_path / "a.zarr", levels[:1], mpp=0.25 * factor, unit=unit)
    with Slide(path) as slide:
        assert slide.resolution().mpp == pytest.approx(0.25)


@pytest.mark.parametrize("unit", ["", "pixel"])
def test_an_ome_zarr_without_a_length_states_no_resolution(
    tmp_path: Path, levels: list[Pixels], unit: str
) -> None:
    pytest.importorskip("zarr")
    path = write_zarr(tmp_path / "a.zarr", levels[:1], mpp=0.25, unit=unit)
    with Slide(path) as slide, pytest.raises(MissingMppError, match="neither"):
        slide.resolution()


def test_pictures_that_are_no_slides_are_refused_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    deep = write_zarr(tmp_path / "16.zarr", [np.zeros((64, 64, 3), np.uint16)], mpp=0.5)
    four = write_zarr(tmp_path / "4.zarr", [np.zeros((64, 64, 4), np.uint8)], mpp=0.5)
    nonsense = write_zarr(tmp_path / "n.zarr", [np.zeros((64, 64, 3), np.uint8)], mpp=0.5)
    metadata = nonsense / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"path": "0"', '"path": "7"'))
    grey = tmp_path / "grey.png"
    Image.fromarray(np.zeros((64, 64), np.uint16)).save(grey)
    for path, reason in [
        (deep, "uint16 of 3 channels"),
        (four, "uint8 of 4 channels"),
        (nonsense, "no such file"),
        (grey, "mode 'I;16'"),
    ]:
        with pytest.raises(SlideError, match=reason) as caught:
            Slide(path)
        assert "\n" not in str(caught.value)


def test_a_damaged_chunk_is_an_error_of_its_place_alone(
    tmp_path: Path, levels: list[Pixels]
) -> None:
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "a.zarr"
    write_zarr(path, levels[:1], mpp=0.5)
    group = zarr.open_group(str(path))
    group.create_array("0", data=levels[0].transpose(2, 0, 1), chunks=(3, 256, 256), overwrite=True)
    (path / "0/c/0/1/1").write_bytes(b"damaged")
    with Slide(path) as slide:
        with pytest.raises(SlideError, match="cannot be read at x = 300, y = 300"):
            slide.read_level(300, 300, 0, 16, 16)
        slide.reopen()
        np.testing.assert_array_equal(slide.read_level(0, 0, 0, 16, 16), levels[0][:16, :16])


def test_tiffslide_reads_openslides_pixels(cmu: Path) -> None:
    pytest.importorskip("tiffslide")
    with Slide(cmu, "tiffslide") as ours, Slide(cmu, "openslide") as theirs:
        assert ours.resolution() == theirs.resolution()
        assert ours.level_dimensions == theirs.level_dimensions
        for x, y in [(500, 700), (-20, -30), (2200, 2950)]:
            np.testing.assert_array_equal(
                ours.read_level(x, y, 0, 90, 70), theirs.read_level(x, y, 0, 90, 70)
            )


def test_tiffslide_reads_every_level(tmp_path: Path, levels: list[Pixels]) -> None:
    pytest.importorskip("tiffslide")
    path = write_pyramid(tmp_path / "a.tif", levels, mpp=0.25)
    assert_same_pixels(path, path, reader="tiffslide")


def test_tiffslide_is_taken_where_openslide_lacks_the_compression(
    tmp_path: Path, levels: list[Pixels]
) -> None:
    path = tmp_path / "a.svs"
    tifffile.imwrite(path, levels[0], tile=(256, 256), photometric="rgb", compression="lzma")
    with pytest.raises(SlideError, match="Unsupported TIFF compression"):
        Slide(path, "openslide")
    if importlib.util.find_spec("tiffslide") is None:
        with pytest.raises(SlideError, match="kind that no reader knows") as caught:
            Slide(path)
        assert "tcssa[tiffslide]" in (caught.value.hint or "")
        return
    with Slide(path) as slide:
        np.testing.assert_array_equal(slide.read_level(0, 0, 0, 300, 300), levels[0][:300, :300])


def test_a_tiff_cut_behind_its_directories_is_no_slide(
    tmp_path: Path, levels: list[Pixels]
) -> None:
    path = write_pyramid(tmp_path / "a.tif", levels, mpp=0.25)
    path.write_bytes(path.read_bytes()[:-100_000])
    with pytest.raises(SlideError):
        Slide(path, "image")
    pytest.importorskip("tiffslide")
    from tcssa.slides.readers.tiffslide_reader import TiffSlideReader

    assert not TiffSlideReader().accepts(path)


@pytest.mark.parametrize("keep", [0.5, 0.9])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_an_image_that_is_cut_short_is_told(tmp_path: Path, suffix: str, keep: float) -> None:
    path = picture(tmp_path / f"a.{suffix}", stained(300, 300))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(SlideError) as caught:
        Slide(path)
    assert "\n" not in str(caught.value)


def test_transparency_is_white(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:32, :, 3] = 255
    with Slide(picture(tmp_path / "a.png", pixels)) as slide:
        read = slide.read_level(0, 0, 0, 64, 64)
    assert (read[:32] == 0).all()
    assert (read[32:] == 255).all()


def test_a_picture_too_large_to_hold_is_refused_and_a_large_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture(tmp_path / "a.png", stained(300, 300))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)  # Pillow refuses above twice that
    with Slide(path) as slide:
        assert slide.dimensions == (300, 300)
    monkeypatch.setenv("TCSSA_MAX_PICTURE_PIXELS", "80000")
    with pytest.raises(SlideError, match="90,000 pixels of a picture that is held whole") as caught:
        Slide(path)
    assert "TCSSA_MAX_PICTURE_PIXELS=90000" in (caught.value.hint or "")


def test_the_pixels_of_an_image_are_held_once(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", stained(300, 300))
    with Slide(path) as one, Slide(path) as other:
        views = [slide._backend.read_region(0, 0, 0, 9, 9) for slide in (one, other)]
        assert np.shares_memory(*views)


def test_features_do_not_depend_on_the_container(tmp_path: Path, levels: list[Pixels]) -> None:
    pytest.importorskip("zarr")
    makers: dict[str, Callable[[Path], Path]] = {
        "tiled.tif": lambda path: write_slide(path, levels[0]),
        "flat.tif": lambda path: flat_tiff(path, levels[0], 0.5),
        "plain.png": lambda path: picture(path, levels[0]),
        "zarr.ome.zarr": lambda path: write_zarr(path, levels, mpp=0.5),
    }
    files = [
        SlideFile.at(make(tmp_path / name), mpp=0.5 if name == "plain.png" else None)
        for name, make in makers.items()
    ]
    report = extract(files, tmp_path / "job", ExtractSettings(device="cpu"))
    assert report.count("done") == 4, report.failed
    from tcssa.features import open_bag

    bags = {}
    for file in files:
        with open_bag(report.features_folder / f"{file.slide_id}.h5") as bag:
            bags[file.slide_id] = bag.read(), bag.read_coords()
    features, coords = bags.pop("tiled")
    assert len(coords) >= 4
    for others_features, others_coords in bags.values():
        np.testing.assert_array_equal(others_coords, coords)
        np.testing.assert_allclose(others_features, features, atol=1e-5)
    again = extract(files, tmp_path / "job", ExtractSettings(device="cpu"))
    assert again.count("skipped") == 4
