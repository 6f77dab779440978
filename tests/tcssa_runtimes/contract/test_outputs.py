"""Encoded slides as tables."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from factories import make_compressor, make_features

from tcssa.compressor import save_compressor
from tcssa.errors import MissingExtraError
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
