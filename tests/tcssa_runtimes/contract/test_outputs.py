"""Encoded slides as tables."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from factories import make_compressor, make_features, square
from PIL import Image

from tcssa.compressor import save_compressor
from tcssa.errors import MissingExtraError, UsageError
from tcssa_runtimes import EncodedSlide, Runtime, open_runtime


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_compressor(make_compressor(), path)
    with open_runtime(path, device="cpu") as runtime:
        yield runtime


def test_a_data_frame_has_a_row_a_slot(runtime: Runtime) -> None:
    places = np.arange(40).reshape(20, 2) * 224
    encoded: EncodedSlide = runtime.encode(make_features(20).numpy(), places)
    table = encoded.to_dataframe()
    assert table.index.name == "slot"
    assert list(table.columns[:6]) == ["mass", "x", "y", "spread_x", "spread_y", "f0"]
    assert np.array_equal(table["mass"], encoded.mass)
    assert np.array_equal(table[[f"f{d}" for d in range(16)]].to_numpy(), encoded.slots)
    assert np.array_equal(table[["x", "y"]].to_numpy(), encoded.centroids, equal_nan=True)


def test_a_slide_without_positions_has_none_in_its_table(runtime: Runtime) -> None:
    table = runtime.encode(make_features(20).numpy()).to_dataframe()
    assert list(table.columns[:2]) == ["mass", "f0"]


def test_without_pandas_its_extra_is_named(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = runtime.encode(make_features(5).numpy())
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError) as caught:
        encoded.to_dataframe()
    assert caught.value.hint == "pip install 'tcssa[pandas]'"


def test_anndata_has_an_observation_a_slot(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = runtime.encode(make_features(20).numpy(), np.arange(40).reshape(20, 2) * 224)
    stand_in = ModuleType("anndata")
    stand_in.AnnData = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "anndata", stand_in)
    check_anndata(encoded.to_anndata(), encoded)


def test_the_real_anndata_takes_slots(runtime: Runtime) -> None:
    pytest.importorskip("anndata")
    encoded = runtime.encode(make_features(20).numpy(), np.arange(40).reshape(20, 2) * 224)
    table = replace(encoded, logits=np.zeros(2, np.float32)).to_anndata()
    assert table.shape == encoded.slots.shape
    check_anndata(table, encoded)
    assert list(table.uns["tcssa"]["logits"]) == [0, 0]


def check_anndata(table: Any, encoded: EncodedSlide) -> None:
    assert list(table.obs.index) == [f"slot{k}" for k in range(len(encoded.mass))]
    assert list(table.obs.columns) == ["mass", "x", "y", "spread_x", "spread_y"]
    assert list(table.var.index[:2]) == ["f0", "f1"]
    assert np.array_equal(table.X, encoded.slots)
    assert np.array_equal(table.obsm["spatial"], encoded.centroids, equal_nan=True)
    assert np.array_equal(table.layers["means"], encoded.means)
    assert table.uns["tcssa"]["num_patches"] == encoded.num_patches


def test_without_anndata_its_extra_is_named(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(MissingExtraError) as caught:
        runtime.encode(make_features(5).numpy()).to_anndata()
    assert caught.value.hint == "pip install 'tcssa[anndata]'"


def test_a_slot_map_is_drawn_of_the_patches(runtime: Runtime, tmp_path: Path) -> None:
    features = make_features(20).numpy()
    encoded = runtime.encode(features, square(20).numpy())
    picture = encoded.plot(str(tmp_path / "map.png"))
    with Image.open(tmp_path / "map.png") as written:
        assert picture.size == written.size
    assert np.ptp(np.asarray(picture)[..., :3].astype(int), axis=2).max() > 50  # in colours
    assert encoded.plot(patch_size=112).size == picture.size
    with pytest.raises(UsageError, match="encoded without coordinates"):
        runtime.encode(features).plot()
