"""Slides that are damaged or claim what cannot be: one line, no hang, little memory."""

import json
import os
import resource
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from slide_files import (
    stained,
    write_claims,
    write_ome_channels,
    write_pyramid,
    write_slide,
    write_vmu,
    write_zarr,
)

from tcssa.errors import SlideError
from tcssa.slides.image.slide import Slide
from tcssa.slides.image.thumbnail import thumbnail_of

Change = Callable[[dict[str, Any]], Any]


def damaged(path: Path, kind: str) -> Path:
    """A file in the place of another, as disks and downloads leave them."""
    content = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "cut":
        path.write_bytes(content[: len(content) // 3])
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not found\n" * 100)
    return path


@pytest.mark.parametrize("kind", ["folder", "pipe", "cut", "empty", "text", "gone"])
@pytest.mark.parametrize("suffix", ["tif", "ome.tif", "png", "jpg", "bmp", "vmu"])
def test_damage_of_every_kind_is_one_line_of_a_slide_error(
    tmp_path: Path, suffix: str, kind: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        write_slide(path, stained(300, 300))
    elif suffix == "ome.tif":
        write_ome_channels(path, stained(300, 300))
    elif suffix == "vmu":
        write_vmu(tmp_path, width=1024).rename(path)
    else:
        Image.fromarray(stained(60, 60)).save(path)
    damaged(path, kind)
    for reader in (None, "tiff", "openslide", "image", "tiffslide", "zarr"):
        with pytest.raises(SlideError) as caught, Slide(path, reader) as slide:
            slide.read_patch(0, 0, 300, 300)
        assert len(str(caught.value)) <= 300
        assert f"a.{suffix}" in str(caught.value)


def test_flipped_bits_of_an_ome_tiff_are_slide_errors_or_pixels(tmp_path: Path) -> None:
    content = write_ome_channels(tmp_path / "a.ome.tif", stained(300, 300)).read_bytes()
    random, path, refusals = np.random.default_rng(0), tmp_path / "b.ome.tif", list[str]()
    for _ in range(150):
        flipped = bytearray(content)
        for place in random.integers(0, 1200, random.integers(1, 6)):
            flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            with Slide(path, "tiff") as slide:
                assert slide.read_patch(0, 0, 100, 50).shape == (50, 50, 3)
        except SlideError as error:
            refusals.append(str(error))
    assert 20 < len(refusals) < 150
    assert not any("\n" in refusal for refusal in refusals)


def test_flipped_bits_of_a_tiff_are_slide_errors_or_pixels(tmp_path: Path) -> None:
    content = write_pyramid(
        tmp_path / "a.tif", [stained(300, 300), stained(150, 150)], mpp=0.5
    ).read_bytes()
    random, path, refusals = np.random.default_rng(0), tmp_path / "b.tif", []
    for _ in range(150):
        flipped = bytearray(content)
        for place in random.integers(0, 400, random.integers(1, 4)):
            flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            with Slide(path) as slide:
                assert slide.read_patch(0, 0, 100, 50).shape == (50, 50, 3)
        except SlideError as error:
            refusals.append(str(error))
    assert len(refusals) > 50
    assert all("b.tif" in refusal for refusal in refusals)


def test_a_small_tiff_that_claims_a_huge_tile_is_refused_by_every_reader(tmp_path: Path) -> None:
    path = write_claims(tmp_path / "a.tif", width=65_536, height=65_536, tile=65_536)
    for reader in (None, "openslide", "tiffslide", "image"):
        with pytest.raises(SlideError, match="at most 16,384 are read") as caught:
            Slide(path, reader)
        assert "TCSSA_MAX_TILE_SIDE=65536" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [(2**22 + 1, 256, "along a slide's side"), (2**20, 2**19, "pixels of a slide")],
)
def test_a_slide_larger_than_any_is_refused(
    tmp_path: Path, width: int, height: int, reason: str
) -> None:
    path = write_claims(tmp_path / "a.tif", width=width, height=height, tile=4096)
    with pytest.raises(SlideError, match=reason):
        Slide(path)


@pytest.mark.parametrize(("width", "height"), [(2**22, 1), (1, 2**22), (2**22, 30)])
def test_a_strip_is_pictured_at_the_cost_of_its_pixels(
    tmp_path: Path, width: int, height: int
) -> None:
    path = write_claims(tmp_path / "a.tif", width=width, height=height, tile=1024)
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Slide(path) as slide:
        thumbnail = thumbnail_of(slide, 0.25)
    assert thumbnail.pixels.shape[0] >= 1
    assert (thumbnail.pixels == 255).all()
    assert time.monotonic() - begin < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


@pytest.mark.parametrize(
    ("compression", "head"),
    # the frame of a JPEG, and the size of a JPEG 2000: height or width stand behind so many bytes
    [("jpeg", (b"\xff\xc0", 5, ">H")), ("jpeg_2000_lossy", (b"\xff\x51", 6, ">I"))],
)
def test_a_tile_that_states_a_size_of_its_own_is_not_decoded(
    tmp_path: Path, compression: str, head: tuple[bytes, int, str]
) -> None:
    pytest.importorskip("tiffslide")
    import tifffile

    path, pixels = tmp_path / "a.tif", stained(64, 64)
    tifffile.imwrite(path, pixels, tile=(32, 32), compression=compression, photometric="rgb")
    with Slide(path, "tiffslide") as slide:
        assert np.abs(slide.read_patch(0, 0, 64, 64).astype(int) - pixels).mean() < 20
    marker, at, code = head
    content = bytearray(path.read_bytes())
    struct.pack_into(code, content, content.find(marker) + at, 20_000)
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Slide(path, "tiffslide") as slide, pytest.raises(SlideError, match="a tile states"):
        slide.read_patch(0, 0, 64, 64)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_strip_beyond_the_end_of_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(stained(60, 60)).save(path)
    content = bytearray(path.read_bytes())
    at = content.find(struct.pack("<HHI", 273, 4, 1))  # a classic TIFF's place of its one strip
    struct.pack_into("<I", content, at + 8, 2**32 - 1)
    path.write_bytes(content)
    with pytest.raises(SlideError, match="claims a tile at 4,294,967,295"):
        Slide(path)


def test_emptiness_is_not_read_for_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_claims(tmp_path / "a.tif", width=2**16, height=2**16, tile=4096)
    with (
        Slide(path) as slide,
        pytest.raises(SlideError, match=r"4,294,967,296 pixels of the level.* 536,870,912"),
    ):
        thumbnail_of(slide, 0.25)
    with path.open("ab") as stream:
        stream.truncate(5_000_000)  # as large a file may hold as much
    monkeypatch.setattr(Slide, "read_level", lambda *_: pytest.fail("read"))
    with Slide(path) as slide, pytest.raises(pytest.fail.Exception, match="read"):
        thumbnail_of(slide, 0.25)


def test_a_pipe_among_the_files_of_a_slide_is_not_waited_for(tmp_path: Path) -> None:
    path = write_vmu(tmp_path, width=1024)
    Slide(path).close()
    os.mkfifo(tmp_path / "level.opt")
    with pytest.raises(SlideError, match=r"beside it lies level\.opt, which is no regular file"):
        Slide(path)
    (tmp_path / "level.opt").rename(tmp_path.parent / "pipe")
    (tmp_path / "link").symlink_to(tmp_path.parent / "pipe")
    with pytest.raises(SlideError, match="beside it lies link"):
        Slide(path)


def edited(path: Path, change: Change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("0/.zarray", {"chunks": [3, 10**6, 10**6]}, "bytes in a chunk"),
        ("0/.zarray", {"shape": [3, 2**40, 2**40]}, "along a slide's side"),
        ("0/.zarray", {"shape": [3, 0, 9]}, "a level is 9 x 0"),
        ("0/.zarray", {"shape": [3, -1, 9]}, "cannot be read"),
        ("0/.zarray", {"filters": [{"id": "pickle"}]}, "names the codec 'pickle'"),
        ("0/.zarray", {"dtype": "|O"}, "cannot be read|not uint8"),
        (".zattrs", {"axes": 5}, "cannot be read"),
        (".zattrs", {"datasets": []}, "cannot be read"),
        (".zattrs", {"datasets": [{"path": "../other"}]}, "an array at '../other'"),
        (".zattrs", {"datasets": [{"path": "/etc"}]}, "an array at '/etc'"),
        (".zattrs", {"datasets": [{"path": 5}]}, "cannot be read"),
        (".zattrs", {"coordinateTransformations": [{"type": "scale", "scale": [1]}]}, "a scale of"),
    ],
)
def test_ome_zarr_metadata_that_cannot_be_are_refused(
    tmp_path: Path, file: str, change: dict[str, Any], reason: str
) -> None:
    pytest.importorskip("zarr")
    path = write_zarr(tmp_path / "a.zarr", [stained(64, 64)], mpp=0.5, version="0.4")

    def apply(content: dict[str, Any]) -> None:
        (content["multiscales"][0] if file == ".zattrs" else content).update(change)

    edited(path / file, apply)
    with pytest.raises(SlideError, match=reason) as caught:
        Slide(path)
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize("scale", [1e308, 1e-308, 0, -1, float("nan"), float("inf")])
def test_a_scale_that_no_pixel_has_is_refused(tmp_path: Path, scale: float) -> None:
    pytest.importorskip("zarr")
    path = write_zarr(tmp_path / "a.zarr", [stained(64, 64), stained(32, 32)], mpp=0.5)

    def stretch(content: dict[str, Any]) -> None:
        first = content["attributes"]["ome"]["multiscales"][0]["datasets"][0]
        first["coordinateTransformations"][0]["scale"][1:] = [scale, scale]

    edited(path / "zarr.json", stretch)
    with pytest.raises(SlideError, match="a scale of"):
        Slide(path)


def test_a_level_of_another_extent_than_its_scale_says_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    path = write_zarr(tmp_path / "a.zarr", [stained(64, 64), stained(64, 64)], mpp=0.5)
    with pytest.raises(SlideError, match="a level of 64 pixels at a scale of 2 shows not 64"):
        Slide(path)


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "folder", "pipe"])
@pytest.mark.parametrize("file", ["zarr.json", "0/zarr.json"])
def test_damaged_metadata_of_an_ome_zarr_are_named(tmp_path: Path, file: str, kind: str) -> None:
    pytest.importorskip("zarr")
    path = write_zarr(tmp_path / "a.zarr", [stained(64, 64)], mpp=0.5)
    damaged(path / file, kind)
    with pytest.raises(SlideError, match=r"zarr\.json"):
        Slide(path)


def test_chunks_may_be_left_out_but_not_all_and_none_is_a_link(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    pixels = stained(64, 64)
    path = write_zarr(tmp_path / "a.zarr", [pixels], mpp=0.5)
    zarr.open_group(str(path)).create_array(
        "0", data=pixels.transpose(2, 0, 1), chunks=(3, 32, 32), overwrite=True
    )
    (path / "0/c/0/1/1").unlink()
    with Slide(path) as slide:
        read = slide.read_level(0, 0, 0, 64, 64)
        np.testing.assert_array_equal(read[:32], pixels[:32])
        assert (read[32:, 32:] == 0).all()
    linked = tmp_path / "linked.zarr"
    shutil.copytree(path, linked)
    (linked / "0/c/0/1/1").symlink_to(path / "0/c/0/0/0")
    with pytest.raises(SlideError, match="is a link"):
        Slide(linked)
    shutil.rmtree(path / "0/c")
    with pytest.raises(SlideError, match="has no chunks"):
        Slide(path)
