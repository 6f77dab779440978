import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from slide_files import stained, write_claims, write_pyramid, write_slide

from tcssa.errors import SlideError
from tcssa.files.tiff import directories, is_whole_tiff, require_sound_tiff
from tcssa.slides.image.slide import Slide


def test_sizes_of_every_directory_are_found(tmp_path: Path) -> None:
    levels = [stained(512, 512), stained(256, 256)]
    write_pyramid(tmp_path / "a.tif", levels, mpp=0.5)
    with tifffile.TiffWriter(tmp_path / "big.tif", bigtiff=True, byteorder=">") as tiff:
        tiff.write(levels[0], tile=(128, 256), subifds=1)
        tiff.write(levels[1], tile=(64, 64), subfiletype=1)
    for name, tiles in [("a.tif", [(256, 256)] * 2), ("big.tif", [(256, 128), (64, 64)])]:
        found = list(directories(tmp_path / name))
        assert [(*each[322], *each[323]) for each in found] == tiles
        assert found[0][258] == (8, 8, 8)
        require_sound_tiff(tmp_path / name, SlideError)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"tile": 65_536}, "65,536 pixels along a tile's side, and at most 16,384"),
        ({"tile": 16_384}, "1,073,741,824 bytes of one tile, and at most 268,435,456"),
        ({"tile": 8_192, "samples": 60_000}, "bytes of one tile"),
        ({"tile": 256, "samples": 200}, "200 samples a pixel"),
        ({"tile": 256, "following": 16}, "run in a circle"),
        ({"tile": 256, "inner": 16}, "run in a circle"),
        ({"tile": 256, "following": 10**15}, "cut short"),
        ({"tile": 256, "inner": 10**15}, "cut short"),
        ({"tile": 256, "text_bytes": 2**40}, "tag 270 claims 1,099,511,627,776 values"),
    ],
)
def test_a_claim_that_no_library_should_see_is_refused(
    tmp_path: Path, claims: dict[str, int], reason: str
) -> None:
    path = write_claims(tmp_path / "a.tif", width=256, height=256, **claims)
    with pytest.raises(SlideError, match=reason):
        require_sound_tiff(path, SlideError)


@pytest.mark.parametrize("signed", [8, 9, 17])
def test_a_claim_in_signed_numbers_is_a_claim(tmp_path: Path, signed: int) -> None:
    path = write_claims(tmp_path / "a.tif", width=256, height=256, tile=30_000)
    content = path.read_bytes()
    for tag in (322, 323):
        claim = struct.pack("<HHQQ", tag, 4, 1, 30_000)
        content = content.replace(claim, struct.pack("<HHQQ", tag, signed, 1, 30_000))
    path.write_bytes(content)
    with pytest.raises(SlideError, match="30,000 pixels along a tile's side"):
        require_sound_tiff(path, SlideError)


WAYS: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (64, 64)},
    "strips": {"rowsperstrip": 30},
    "one strip": {},
    "planes of tiles": {"tile": (64, 64), "planarconfig": "separate"},
    "planes of strips": {"rowsperstrip": 30, "planarconfig": "separate"},
    "a BigTIFF": {"tile": (64, 64), "bigtiff": True, "byteorder": ">"},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_picture_that_lists_too_few_of_its_tiles_is_refused(tmp_path: Path, way: str) -> None:
    how, path = WAYS[way], tmp_path / "a.tif"
    pixels = stained(200, 300)
    if "planarconfig" in how:
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **how)
    require_sound_tiff(path, SlideError)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        order, word = tiff.byteorder, "Q" if tiff.is_bigtiff else "I"
        entries = {tag.code: tag.offset for tag in page.tags}
        num_listed = len(page.dataoffsets)
    content = path.read_bytes()
    for code in {273, 279, 324, 325} & entries.keys():
        fewer = bytearray(content)
        struct.pack_into(f"{order}{word}", fewer, entries[code] + 4, num_listed - 1)
        path.write_bytes(fewer)
        with pytest.raises(SlideError, match=f"lists {num_listed - 1} of {num_listed} tiles"):
            require_sound_tiff(path, SlideError)
    larger = bytearray(content)
    for code, size in {256: 300 * 256, 257: 200 * 256, 278: 30}.items():
        if code in entries:
            struct.pack_into(f"{order}HH{word}I", larger, entries[code], code, 4, 1, size)
    path.write_bytes(larger)
    with pytest.raises(SlideError, match=r"lists [\d,]+ of [\d,]+ tiles or strips"):
        require_sound_tiff(path, SlideError)


@pytest.mark.parametrize("code", [324, 325])
def test_tiles_without_places_or_lengths_are_refused(tmp_path: Path, code: int) -> None:
    path = write_slide(tmp_path / "a.tif", stained(300, 300))
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages.first.tags[code].offset
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, at, 60_000)
    path.write_bytes(content)
    with pytest.raises(SlideError, match="lists 0 of 4 tiles"):
        require_sound_tiff(path, SlideError)


@pytest.mark.parametrize("how", [{"tile": (64, 64)}, {"rowsperstrip": 30}])
def test_a_tile_that_is_longer_than_its_file_is_refused(tmp_path: Path, how: Any) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stained(200, 300), photometric="rgb", bigtiff=True, **how)
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages.first.tags
        lengths = tags.get(325) or tags[279]
    content = bytearray(path.read_bytes())
    array = struct.pack("<Q", 2**48) * lengths.count
    struct.pack_into("<HQQ", content, lengths.offset + 2, 16, lengths.count, len(content))
    path.write_bytes(content + array)
    with pytest.raises(SlideError, match="claims 281,474,976,710,656 bytes of one tile or strip"):
        require_sound_tiff(path, SlideError)


def test_a_tag_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = write_claims(tmp_path / "a.tif", width=256, height=256, tile=64)
    claim = struct.pack("<HHQQ", 259, 4, 1, 1)
    path.write_bytes(path.read_bytes().replace(claim, struct.pack("<HHQQ", 323, 4, 1, 3)))
    with pytest.raises(SlideError, match="states its tag 323 twice"):
        require_sound_tiff(path, SlideError)


@pytest.mark.parametrize(("place", "reason"), [(4, "into its head"), (2**31, "cut short")])
def test_lists_of_tiles_that_cannot_be_there_are_refused(
    tmp_path: Path, place: int, reason: str
) -> None:
    path = write_slide(tmp_path / "a.tif", stained(600, 600))
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages.first.tags[324].offset
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, at + 8, place)
    path.write_bytes(content)
    with pytest.raises(SlideError, match=reason):
        require_sound_tiff(path, SlideError)


def test_tiles_that_were_left_out_are_listed_without_a_length(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", stained(600, 600))
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages.first.tags
        arrays = [(tags[code].valueoffset, tags[code].dtype) for code in (324, 325)]
    content = bytearray(path.read_bytes())
    for at, kind in arrays:
        size = 2 if kind == 3 else 4
        content[at + size : at + 2 * size] = bytes(size)
    path.write_bytes(content)
    with Slide(path) as slide:
        read = slide.read_patch(0, 0, 600, 600)
    assert (read[:256, 256:512] == read[0, 256]).all()
    assert read[:256, :256].std() > 1


def test_a_large_file_may_have_large_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_claims(tmp_path / "a.tif", width=256, height=256, tile=16_384)
    with path.open("ab") as stream:
        stream.truncate(6_000_000)
    require_sound_tiff(path, SlideError)
    path = write_claims(tmp_path / "b.tif", width=256, height=256, tile=65_536)
    for name, value in [("SIDE", 65_536), ("BYTES", 2**40)]:
        monkeypatch.setenv(f"TCSSA_MAX_TILE_{name}", str(value))
    require_sound_tiff(path, SlideError)


def test_a_tiff_that_is_cut_within_its_directory_is_not_whole(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", np.zeros((300, 300, 3), np.uint8))
    content = path.read_bytes()
    assert is_whole_tiff(path)
    for length in range(4, 140, 5):
        path.write_bytes(content[:length])
        assert not is_whole_tiff(path)


def test_ndpi_directories_have_wide_offsets(tmp_path: Path) -> None:
    entry = (65420).to_bytes(2, "little") + b"\3\0\1\0\0\0\1\0\0\0"
    second = 12 + 2 + 12 + 8
    content = b"II*\0" + (12).to_bytes(8, "little")
    content += b"\1\0" + entry + second.to_bytes(8, "little") + b"\1\0" + entry + bytes(8)
    (tmp_path / "a.ndpi").write_bytes(content)
    assert [each[65420] for each in directories(tmp_path / "a.ndpi")] == [(1,), (1,)]
