import io
import os
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from tcssa.errors import FileError
from tcssa.files.picture import read_rgb

SQUARE = np.zeros((120, 160), np.uint8)
SQUARE[30:90, 40:120] = 255


class PictureError(FileError):
    """What these tests raise."""


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A grey PNG that claims a size, whatever its rows hold."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def saved(form: str, picture: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def test_transparent_pixels_are_white_in_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rgba = np.dstack([np.full_like(SQUARE, 90)] * 3 + [SQUARE])
    Image.fromarray(rgba).save(path)
    pixels = read_rgb(path, PictureError)
    assert (pixels[SQUARE > 0] == 90).all()
    assert (pixels[SQUARE == 0] == 255).all()


def test_a_picture_larger_than_a_block_is_whole(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2100, 2300, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.bmp", PictureError), pixels)


def test_pixels_are_counted_before_one_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(1, 178_000_000))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(PictureError, match=r"claims 178,000,000 pixels.* at most 67,108,864"):
        read_rgb(path, PictureError)


def test_what_a_picture_may_claim_grows_with_its_file_and_by_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    large = png(15_000, 10_000)
    path.write_bytes(large + bytes(3_000_000))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(pytest.fail.Exception, match="decoded"):
        read_rgb(path, PictureError)
    path.write_bytes(png(20_000, 10_000) + bytes(9_000_000))
    with pytest.raises(PictureError, match="at most 178,956,970"):
        read_rgb(path, PictureError)
    monkeypatch.setenv("TCSSA_MAX_PICTURE_PIXELS", "200000000")
    with pytest.raises(pytest.fail.Exception, match="decoded"):
        read_rgb(path, PictureError)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "TIFF"])
def test_a_picture_that_is_cut_anywhere_is_an_error(tmp_path: Path, form: str) -> None:
    content = saved(form, Image.fromarray(SQUARE))
    path = tmp_path / "a"
    for length in range(0, len(content) - 20, max(1, len(content) // 40)):
        path.write_bytes(content[:length])
        with pytest.raises(PictureError) as caught:
            read_rgb(path, PictureError)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) <= 300


def test_more_than_8_bits_a_colour_are_refused_and_not_cut(tmp_path: Path) -> None:
    deep = np.dstack([SQUARE.astype(np.uint16)] * 3)
    cv2.imwrite(str(tmp_path / "a.png"), deep)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb")
    for name in ("a.png", "a.tif"):
        with pytest.raises(PictureError, match="more than 8 bits a colour"):
            read_rgb(tmp_path / name, PictureError)


def test_a_jpeg_of_scans_without_end_is_refused(tmp_path: Path) -> None:
    content = saved("JPEG", Image.fromarray(SQUARE), progressive=True)
    (tmp_path / "a.jpg").write_bytes(content)
    assert read_rgb(tmp_path / "a.jpg", PictureError).any()
    (tmp_path / "a.jpg").write_bytes(content[:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 300)
    with pytest.raises(PictureError, match="more than 200 scans"):
        read_rgb(tmp_path / "a.jpg", PictureError)


def test_what_is_no_file_or_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    for path, reason in [
        (tmp_path / "text.png", "not a readable picture"),
        (tmp_path / "empty.png", "not a readable picture"),
        (tmp_path / "pipe.png", "no regular file"),
        (tmp_path / "gone.png", "no such file"),
        (tmp_path, "is a folder"),
    ]:
        with pytest.raises(PictureError, match=reason):
            read_rgb(path, PictureError)
