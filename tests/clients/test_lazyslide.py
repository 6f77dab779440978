"""Stores that LazySlide's own library writes are read as features by the command."""

from pathlib import Path

import numpy as np
import pytest
from factories import make_compressor
from slide_files import draw_slides

from tcssa.compressor import save_compressor
from tcssa.features import open_bag
from tcssa_cli.main import run


@pytest.mark.parametrize("with_thumbnail", [False, True])
def test_a_store_beside_its_slide_is_encoded(tmp_path: Path, with_thumbnail: bool) -> None:
    wsidata = pytest.importorskip("wsidata")
    (slide,) = draw_slides(tmp_path, 1)
    store = slide.with_suffix(".zarr")
    wsi = wsidata.open_wsi(slide, store=str(store), attach_thumbnail=with_thumbnail)
    corners = np.array([[0, 0], [224, 0], [0, 224]])
    spec = wsidata.TileSpec(height=224, width=224, stride_height=224, stride_width=224, mpp=0.5)
    wsidata.io.add_tiles(wsi, "tiles", corners, spec, np.zeros(3, int))
    features = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)
    wsidata.io.add_features(wsi, "test_encoder_tiles", "tiles", features)
    wsi.write(store, overwrite=True)
    with open_bag(store) as bag:
        assert np.array_equal(bag.read(), features)
        assert np.array_equal(bag.read_coords(), corners)
    save_compressor(make_compressor(), tmp_path / "model.safetensors")
    options = ["--model", str(tmp_path / "model.safetensors"), "--out", str(tmp_path / "out")]
    assert run(["encode", str(store), *options]) == 0
    assert run(["encode", str(tmp_path / "*.zarr"), *options, "--overwrite"]) == 0
    assert run(["encode", str(tmp_path), *options]) == 2  # the slide and the store
