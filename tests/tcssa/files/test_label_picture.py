"""Label masks as annotation tools and scripts write them, in every depth and colour."""

import contextlib
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tcssa.errors import FileError
from tcssa.files.label_picture import LabelPicture, read_labels

SQUARE = np.zeros((120, 160), np.uint8)
SQUARE[30:90, 40:120] = 255
ONES, IS_SQUARE = SQUARE // 255, SQUARE > 0


class PictureError(FileError):
    """What these tests raise."""


def labels(path: Path, **choices: object) -> LabelPicture:
    return read_labels(path, PictureError, **choices)


def saved(form: str, picture: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def indexed(path: Path, indexes: NDArray[np.uint8], *colours: tuple[int, int, int]) -> Path:
    picture = Image.fromarray(indexes).convert("L")
    palette = Image.frombytes("P", picture.size, picture.tobytes())
    palette.putpalette([value for colour in colours for value in colour])
    palette.save(path)
    return path


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        *(("PNG", mode) for mode in ("1", "L", "RGB", "RGBA", "P", "LA")),
        *(("TIFF", mode) for mode in ("1", "L", "RGB", "RGBA", "P", "LA", "CMYK")),
        *(("BMP", mode) for mode in ("1", "L", "RGB", "P")),
        *(("JPEG", mode) for mode in ("L", "RGB")),
    ],
)
def test_labels_are_what_opencv_has_above_zero(tmp_path: Path, form: str, mode: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(saved(form, Image.fromarray(SQUARE).convert("RGB").convert(mode)))
    expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0
    np.testing.assert_array_equal(labels(path).inside, expected)


@pytest.mark.parametrize(
    "kind",
    [
        np.int8,
        np.uint8,
        np.int16,
        np.uint16,
        np.int32,
        np.uint32,
        np.uint64,
        np.float32,
        np.float64,
    ],
)
def test_low_labels_count_at_any_depth_in_grey_and_in_one_colour(
    tmp_path: Path, kind: type
) -> None:
    grey = ONES.astype(kind) * kind(7)
    if np.dtype(kind).kind != "u":
        grey[:20] = -1  # of a picture that marks what is unknown
    tifffile.imwrite(tmp_path / "grey.tif", grey)
    red = np.dstack([ONES, 0 * ONES, 0 * ONES]).astype(kind)
    tifffile.imwrite(tmp_path / "red.tif", red, photometric="rgb")
    for name in ("grey.tif", "red.tif"):
        np.testing.assert_array_equal(labels(tmp_path / name).inside, IS_SQUARE)


def test_low_labels_count_in_deep_pngs(tmp_path: Path) -> None:
    blue_green_red = np.dstack([0 * ONES, 0 * ONES, 2 * ONES]).astype(np.uint16)
    alpha = np.full(ONES.shape, 65535, np.uint16)
    alpha[:60] = 0
    cv2.imwrite(str(tmp_path / "grey.png"), ONES.astype(np.uint16))
    cv2.imwrite(str(tmp_path / "red.png"), blue_green_red)
    cv2.imwrite(str(tmp_path / "clear.png"), np.dstack([blue_green_red, alpha]))
    for name in ("grey.png", "red.png"):
        found = labels(tmp_path / name)
        np.testing.assert_array_equal(found.inside, IS_SQUARE)
        assert not found.remarks
    red = labels(tmp_path / "red.png", chosen=["2,0,0"])
    np.testing.assert_array_equal(red.inside, IS_SQUARE)
    found = labels(tmp_path / "clear.png")
    np.testing.assert_array_equal(found.inside, IS_SQUARE & (alpha > 0))
    assert "2,400 pixels have a label and are transparent" in found.remarks[0]


def test_a_palette_goes_by_its_index_and_says_so_where_its_colours_say_otherwise(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.png"
    found = labels(indexed(path, ONES, (0, 0, 0), (0, 0, 3)))
    np.testing.assert_array_equal(found.inside, IS_SQUARE)
    assert not found.remarks
    found = labels(indexed(path, ONES, (255, 255, 255), (200, 0, 0)))  # as QuPath exports labels
    np.testing.assert_array_equal(found.inside, IS_SQUARE)
    assert "index 0 of its palette, colour 255,255,255, is taken" in found.remarks[0]
    assert "14,400 of 19,200 pixels" in found.remarks[0]
    found = labels(indexed(path, ONES, (255, 255, 255), (0, 0, 0)))
    np.testing.assert_array_equal(found.inside, IS_SQUARE)
    assert "4,800 black ones are not (--mask-background 0,0,0" in found.remarks[0]
    for background in ("1", "0,0,0"):
        found = labels(path, background=[background])
        np.testing.assert_array_equal(found.inside, ~IS_SQUARE)
        assert not found.remarks


def test_background_and_chosen_labels_take_the_place_of_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    stripes = np.zeros_like(SQUARE)
    stripes[:40], stripes[40:80] = 1, 255
    Image.fromarray(stripes).save(path)
    for choices, values in [
        ({"background": ["255"]}, [0, 1]),
        ({"background": ["0", "255"]}, [1]),
        ({"chosen": ["255"]}, [255]),
        ({"chosen": ["0", "1"]}, [0, 1]),
        ({"chosen": ["0", "1"], "background": ["0"]}, [1]),
    ]:
        np.testing.assert_array_equal(labels(path, **choices).inside, np.isin(stripes, values))
    Image.fromarray(np.dstack([stripes] * 3)).save(path)
    for background in ("255", "255,255,255"):
        np.testing.assert_array_equal(labels(path, background=[background]).inside, stripes != 255)
    with pytest.raises(PictureError, match="the label 1,2 has 2 numbers, and each of its pixels 3"):
        labels(path, background=["1,2"])
    with pytest.raises(PictureError, match="labels are numbers, and 'Tumor' is none"):
        labels(path, chosen=["Tumor"])


def test_pages_of_one_size_are_channels_and_lesser_ones_are_levels(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([0 * ONES, ONES, 0 * ONES]), photometric="minisblack")
    found = labels(path)
    np.testing.assert_array_equal(found.inside, IS_SQUARE)
    assert "3 pages of one size" in found.remarks[0]
    tifffile.imwrite(path, np.stack([1 - ONES, ONES, 0 * ONES]), photometric="minisblack")
    assert labels(path).inside.all()
    assert labels(path).corner == "1,0,0"
    np.testing.assert_array_equal(labels(path, background=["1,0,0"]).inside, IS_SQUARE)
    with tifffile.TiffWriter(path) as tiff:
        for number in range(3):
            level = ONES[:: 2**number, :: 2**number]
            tiff.write(level, subfiletype=min(number, 1), photometric="minisblack")
    found = labels(path)
    np.testing.assert_array_equal(found.inside, IS_SQUARE)
    assert not found.remarks


@pytest.mark.parametrize("number", [2, 5])
@pytest.mark.parametrize("layout", ["contig", "separate"])
def test_channels_that_are_no_colours_are_refused_and_not_dropped(
    tmp_path: Path, number: int, layout: str
) -> None:
    path = tmp_path / "a.tif"
    stacked = np.stack([1 - ONES, *[ONES] * (number - 1)], axis=-1 if layout == "contig" else 0)
    tifffile.imwrite(path, stacked, photometric="minisblack", planarconfig=layout)
    with pytest.raises(PictureError, match=f"has {number} channels, which are no colours"):
        labels(path)


def test_zeros_that_are_white_have_two_readings(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IS_SQUARE, photometric="miniswhite")
    with pytest.raises(PictureError, match="4,800 pixels that are not 0, or the 14,400") as caught:
        labels(path)
    assert "--mask-background 1 (white)" in (caught.value.hint or "")
    np.testing.assert_array_equal(labels(path, background=["1"]).inside, IS_SQUARE)
    np.testing.assert_array_equal(labels(path, background=["0"]).inside, ~IS_SQUARE)


def test_transparent_pixels_have_no_label(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([np.full_like(SQUARE, 90)] * 3 + [SQUARE])).save(path)
    np.testing.assert_array_equal(labels(path).inside, IS_SQUARE)


def test_a_picture_larger_than_a_block_is_whole(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (2100, 2300), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(labels(tmp_path / "a.png").inside, pixels > 0)


@pytest.mark.parametrize("level", [0, 6])
def test_a_flipped_bit_of_a_png_never_changes_a_mask(tmp_path: Path, level: int) -> None:
    content = saved("PNG", Image.fromarray(SQUARE), compress_level=level)
    random = np.random.default_rng(0)
    path, num_refused = tmp_path / "a.png", 0
    for place in random.integers(0, len(content), 150):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            np.testing.assert_array_equal(labels(path).inside, IS_SQUARE)
        except PictureError:
            num_refused += 1
    assert num_refused > 100


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
def test_damage_within_compressed_labels_is_never_read_as_a_mask(
    tmp_path: Path, compression: str, kind: type, photometric: str
) -> None:
    path = tmp_path / "a.tif"
    picture = ONES.astype(kind)
    if photometric == "rgb":
        picture = np.dstack([picture, 0 * picture, 0 * picture])
    tifffile.imwrite(path, picture, photometric=photometric, compression=compression)
    with tifffile.TiffFile(path) as tiff:
        begin, size = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[begin + size // 2 : begin + size] = bytes(size - size // 2)
    with contextlib.suppress(PictureError):  # doubles are refused where they are compressed
        np.testing.assert_array_equal(labels(path).inside, IS_SQUARE)
    path.write_bytes(content)
    with pytest.raises(PictureError):
        labels(path)


@pytest.mark.parametrize("kind", ["deep.png", "deep.tif", "double.tif"])
def test_a_deep_picture_that_is_cut_anywhere_is_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    path = tmp_path / kind
    deep = np.random.default_rng(0).integers(0, 65535, (40, 50, 3), np.uint16)
    if kind == "deep.png":
        cv2.imwrite(str(path), deep)
    else:
        tifffile.imwrite(path, deep if "deep" in kind else deep.astype(float), photometric="rgb")
    content = path.read_bytes()
    assert labels(path).inside.any()
    for length in range(0, len(content) - 20, max(1, len(content) // 40)):
        path.write_bytes(content[:length])
        with pytest.raises(PictureError) as caught:
            labels(path)
        assert len(str(caught.value)) <= 300
    assert not capfd.readouterr().err  # nothing of OpenCV's own
