"""Models that are told where patches lie: in every runtime, in parts, in files."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from exports import Exported
from factories import make_compressor, make_features, write_bag

from tcssa.compressor import save_compressor
from tcssa.errors import ShapeError, UsageError
from tcssa.features import open_bag
from tcssa.reporter import Silent
from tcssa_runtimes import open_runtime
from tcssa_runtimes.archive.encode import encode
from tcssa_runtimes.archive.merge import merge_slides
from tcssa_runtimes.archive.slot_state import read_state

KINDS = ["torch", "full", "chunked", "chunked-fp16"]
MPP = 0.5


@pytest.fixture(scope="module")
def spatial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spatial") / "checkpoint.safetensors"
    model = make_compressor(num_slots=8, salience=True, nested=True, spatial=True)
    save_compressor(model, path, "test_encoder")
    return path


def model_of(kind: str, spatial: Path, exported: Exported) -> Path:
    if kind == "torch":
        return spatial
    options = {"salience": True, "nested": True, "spatial": True}
    if kind.startswith("chunked"):
        options |= {"graph": "chunked", "chunk_patches": 64}
    return exported(**options, **({"precision": "fp16"} if kind.endswith("fp16") else {}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_runtime_places_slots_as_the_compressor_does(
    spatial: Path, exported: Exported, kind: str
) -> None:
    model = make_compressor(num_slots=8, salience=True, nested=True, spatial=True)
    features = make_features(150)
    corners = np.random.default_rng(0).integers(50_000, 90_000, (150, 2))
    state = model.start()
    for rows in (slice(100, 150), slice(0, 100)):
        at = corners[rows]
        state = model.update(state, features[rows], torch.from_numpy(at), mpp=MPP)
    expected = model.finish(state).numpy()
    blind = make_compressor(num_slots=8, salience=True, nested=True)
    assert np.abs(expected - blind(features[None]).slots[0].detach().numpy()).max() > 0.1
    tolerance = 4e-3 if kind.endswith("fp16") else 5e-5
    with open_runtime(model_of(kind, spatial, exported)) as runtime:
        slide = runtime.encode(features.numpy(), corners, mpp=MPP)
        np.testing.assert_allclose(slide.slots, expected, atol=tolerance)
        batch = np.stack([features.numpy(), np.zeros_like(features)])
        found = runtime.run(batch, np.array([150, 0]), np.stack([corners, corners]) * MPP)
        np.testing.assert_allclose(found.slots[0], expected, atol=tolerance)
        with pytest.raises(ShapeError, match="needs coordinates"):
            runtime.run(batch, np.array([150, 0]))
        with pytest.raises(ShapeError, match="needs coordinates"):
            runtime.encode(features.numpy(), corners)


@pytest.mark.parametrize("kind", ["torch", "full", "chunked"])
def test_a_slide_without_places_or_their_unit_is_named_and_the_others_go_on(
    tmp_path: Path, spatial: Path, exported: Exported, kind: str
) -> None:
    for name in ("whole", "blind", "unmeasured"):
        write_bag(tmp_path / "bags" / f"{name}.h5", num_patches=90)
    with h5py.File(tmp_path / "bags" / "blind.h5", "r+") as file:
        del file["coords"]
    for name in ("whole", "unmeasured"):
        with h5py.File(tmp_path / "bags" / f"{name}.h5", "r+") as file:
            if name == "whole":
                file["coords"].attrs["mpp_level0"] = MPP
            else:
                file["coords"].attrs.pop("mpp_level0", None)
    with open_runtime(model_of(kind, spatial, exported)) as runtime:
        report = encode([tmp_path / "bags"], tmp_path / "out", runtime, Silent())
    assert report.num_encoded == 1
    reasons = {failed.path.stem: failed.reason for failed in report.failed}
    assert "where its patches lie" in reasons["blind"]
    assert "µm a pixel" in reasons["unmeasured"]


@pytest.mark.parametrize("kind", ["torch", "chunked"])
@pytest.mark.parametrize("budget", [None, 4])
def test_parts_merge_with_their_places(
    tmp_path: Path, spatial: Path, exported: Exported, kind: str, budget: int | None
) -> None:
    whole = write_bag(tmp_path / "bags" / "S.h5", num_patches=90)
    with h5py.File(whole, "r+") as file:
        file["coords"].attrs["mpp_level0"] = MPP
    with open_bag(whole) as bag:
        features, coords = bag.read(), bag.read_coords()
    assert coords is not None
    for part, rows in enumerate((slice(0, 30), slice(30, 90))):
        with h5py.File(tmp_path / "bags" / f"S{part}.h5", "w") as file:
            file.create_dataset("features", data=features[rows]).attrs["encoder"] = "test_encoder"
            file.create_dataset("coords", data=coords[rows]).attrs.update(
                {"patch_size_level0": 224, "mpp_level0": MPP}
            )
    found = tmp_path / "out" / "slide_features_tcssa"
    model = model_of(kind, spatial, exported)
    with open_runtime(model) as runtime:
        runtime.set_budget(budget)
        encode([tmp_path / "bags"], tmp_path / "out", runtime, Silent())
    parts = [found / f"S{part}.h5" for part in range(2)]
    with open_runtime(model) as runtime:
        runtime.set_budget(budget)
        merge_slides(parts, tmp_path / "merged.h5", runtime, same_slide=True)
        with pytest.raises(UsageError, match="different slides"):
            merge_slides(parts, tmp_path / "never.h5", runtime)
        if budget is not None:
            runtime.set_budget(8)
            merge_slides([tmp_path / "merged.h5"], tmp_path / "all.h5", runtime)
    with h5py.File(tmp_path / "merged.h5") as merged, h5py.File(found / "S.h5") as expected:
        assert merged["waves"].attrs["um_per_coord"] == MPP
        for name in ("features", "mass", "means", "centroids", "waves"):
            np.testing.assert_allclose(merged[name][:], expected[name][:], rtol=5e-5, atol=5e-5)
    if budget is not None:
        places = read_state(tmp_path / "all.h5").sums.places
        assert places is not None
        assert len(places.vectors()) == 8


@pytest.mark.parametrize("kind", ["torch", "full", "chunked"])
def test_places_that_do_not_fit_are_refused(spatial: Path, exported: Exported, kind: str) -> None:
    features, places = make_features(100).numpy(), np.ones((100, 2))
    with open_runtime(model_of(kind, spatial, exported)) as runtime:
        for few in (places[:50], places[:, :1], places[:, 0]):
            with pytest.raises(ShapeError, match="coords must be"):
                runtime.compress([features], [few])
            with pytest.raises(ShapeError, match="coords must be"):
                runtime.run(features[None], np.array([100]), few[None])
            with pytest.raises(ShapeError, match="coords must be"):
                runtime.encode(features, few, MPP)
        for bad, mpp in ((np.where(places > 0, np.nan, 0), MPP), (places, 0.0)):
            with pytest.raises(ShapeError, match=r"NaN or an infinity|above 0"):
                runtime.encode(features, bad, mpp)


def test_a_slide_of_another_resolution_is_encoded_again(tmp_path: Path, spatial: Path) -> None:
    path = write_bag(tmp_path / "bags" / "S.h5", num_patches=90)
    found = []
    for mpp in (0.5, 0.25, 0.25):
        with h5py.File(path, "r+") as file:
            file["coords"].attrs["mpp_level0"] = mpp
        with open_runtime(spatial) as runtime:
            found.append(encode([tmp_path / "bags"], tmp_path / "out", runtime, Silent()))
    assert [report.num_encoded for report in found] == [1, 1, 0]
