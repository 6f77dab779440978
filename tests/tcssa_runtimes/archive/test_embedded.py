"""Models whose slots are not as long as patches: in every runtime, in parts, in files."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from exports import Exported
from factories import make_compressor, make_features, write_bag

from tcssa import SlotCompressor
from tcssa.artefact import Artefact
from tcssa.compressor import save_compressor
from tcssa.errors import FeatureDimError
from tcssa.reporter import Silent
from tcssa_runtimes import open_runtime
from tcssa_runtimes.archive.encode import encode
from tcssa_runtimes.archive.merge import merge_slides
from tcssa_runtimes.contract.checks import require_fitting

LENGTHS = {"embedded_from": 16, "feature_dim": 12}
MPP = 0.5


def make_model() -> SlotCompressor:
    return make_compressor(num_slots=8, salience=True, nested=True, spatial=True, **LENGTHS)


@pytest.fixture(scope="module", params=["torch", "chunked"])
def path(
    request: pytest.FixtureRequest, exported: Exported, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    if request.param == "chunked":
        shape = {"salience": True, "nested": True, "spatial": True, "embedding": LENGTHS}
        return exported(**shape, graph="chunked", chunk_patches=64)
    checkpoint = tmp_path_factory.mktemp("embedded") / "checkpoint.safetensors"
    save_compressor(make_model(), checkpoint, "test_encoder")
    return checkpoint


def test_places_and_budgets_are_the_compressor_s(path: Path) -> None:
    features = make_features(150)
    corners = np.random.default_rng(0).integers(50_000, 90_000, (150, 2))
    places = [torch.from_numpy(corners * MPP)]
    expected = make_model().compress([features], 4, places).slots[0].detach().numpy()
    with open_runtime(path) as runtime:
        assert (runtime.facts.feature_dim, runtime.facts.slot_dim) == (16, 12)
        runtime.set_budget(4)
        slide = runtime.encode(features.numpy(), corners, mpp=MPP)
    np.testing.assert_allclose(slide.slots, expected, atol=5e-5)


def test_files_keep_slots_of_their_own_length_and_merge(path: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        bag = write_bag(tmp_path / "bags" / f"part{number}.h5", 70, seed=number)
        with h5py.File(bag, "r+") as file:
            file["coords"].attrs["mpp_level0"] = MPP
    with open_runtime(path) as runtime:
        encode([tmp_path / "bags"], tmp_path / "out", runtime, Silent())
    with open_runtime(path) as runtime:
        parts = sorted((tmp_path / "out" / "slide_features_tcssa").glob("*.h5"))
        merged = merge_slides(parts, tmp_path / "all.h5", runtime, same_slide=True)
    assert merged.facts.num_patches == 140
    bags = [h5py.File(tmp_path / "bags" / part.name) for part in parts]
    features = torch.from_numpy(np.concatenate([bag["features"][:] for bag in bags]))
    # positions are centres: of patches of 224 px
    places = torch.from_numpy(np.concatenate([bag["coords"][:] + 112 for bag in bags]) * MPP)
    expected = make_model().compress([features], coords=[places]).slots[0].detach()
    with h5py.File(tmp_path / "all.h5") as file:
        assert file["features"].shape == file["means"].shape == (8, 12)
        np.testing.assert_allclose(file["features"][:], expected, atol=5e-5)
    for bag in bags:
        bag.close()


def test_features_of_the_slots_length_are_refused(path: Path) -> None:
    runtime = open_runtime(path)
    with pytest.raises(FeatureDimError, match="features have D = 12, expected D = 16"):
        require_fitting(runtime.facts, Path("S.h5"), 12, None)


def test_an_artefact_states_both_lengths_and_one_of_before_only_one(exported: Exported) -> None:
    artefact = Artefact.read(exported(salience=True, embedding=LENGTHS))
    assert (artefact.feature_dim, artefact.slot_dim) == (16, 12)
    assert artefact.precision["embedding"] == "float32"
    old = Artefact.read(exported()).model_dump()
    del old["slot_dim"]
    assert "embedding" not in old["precision"]
    assert Artefact.model_validate(old).slot_dim == 16
