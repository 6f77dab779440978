from pathlib import Path

import numpy as np
import pytest
import tifffile
from slide_files import stained, write_claims, write_pyramid, write_slide

from tcssa.errors import SlideError
from tcssa.files.tiff import directories, is_whole_tiff, require_sound_tiff


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
