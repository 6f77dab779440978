from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from slide_files import stained

from tcssa.files.tiff_pages import TiffPieces, read_pages


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"rowsperstrip": 7},
        {"planarconfig": "separate"},
        {"compression": "lzw", "predictor": True},
        {"compression": "zlib", "tile": (64, 128), "planarconfig": "separate"},
        {"compression": "jpeg", "tile": (128, 128)},
        {"compression": "jpeg", "rowsperstrip": 16, "subsampling": (1, 1)},
        {"compression": "packbits", "rowsperstrip": 16, "bigtiff": True, "byteorder": ">"},
        {"compression": "zstd", "tile": (128, 64), "predictor": True},
    ],
    ids=lambda written: "-".join(map(str, written.values())) or "raw",
)
def test_any_window_has_tifffiles_pixels(tmp_path: Path, written: dict[str, Any]) -> None:
    pytest.importorskip("imagecodecs")
    path, pixels = tmp_path / "a.tif", stained(300, 410)
    separate = "planarconfig" in written
    stored = pixels.transpose(2, 0, 1) if separate else pixels
    resolution = {"resolution": (40_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, stored, photometric="rgb", **resolution, **written)
    expected = tifffile.imread(path)
    expected = expected.transpose(1, 2, 0) if separate else expected
    (page,) = read_pages(path)
    assert (page.size, page.mpp, page.why_unread()) == ((410, 300), (0.25, 0.5), None)
    with TiffPieces(path) as pieces:
        for x0, y0, x1, y1 in [(0, 0, 410, 300), (13, 101, 300, 233), (409, 299, 410, 300)]:
            np.testing.assert_array_equal(page.read(pieces, x0, y0, x1, y1), expected[y0:y1, x0:x1])


def test_a_strip_that_holds_the_whole_picture_is_read_in_parts(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", stained(700, 50), photometric="rgb", rowsperstrip=700)
    (page,) = read_pages(tmp_path / "a.tif")
    assert page.piece_bytes == 256 * 50 * 3


def test_decoded_pieces_are_kept_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcssa.files.tiff_pages._CACHE_BYTES", 60_000)
    tifffile.imwrite(tmp_path / "a.tif", stained(512, 512), photometric="rgb", tile=(128, 128))
    (page,) = read_pages(tmp_path / "a.tif")
    with TiffPieces(tmp_path / "a.tif") as pieces:
        page.read(pieces, 0, 0, 512, 512)
        assert sum(piece.nbytes for piece in pieces._pieces.values()) <= 60_000
