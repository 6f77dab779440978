"""The slot cache: the encoder's own tokens, made once, and made again when anything changes."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from factories import make_compressor, write_bag

from tcssa.errors import CheckpointError, FeatureDimError, FeatureFileError, NonFiniteFeatureError
from tcssa.reporter import Silent
from tcssa.vqa.model.slot_cache import Fault, SlotCache, encoder_hash, feature_tensor
from tcssa.vqa.model.visual_encoder import VisualConfig, VisualEncoder
from tcssa.vqa.model.visual_encoders import build_visual


def make_encoder(seed: int = 0) -> VisualEncoder:
    return build_visual(VisualConfig(kind="tcssa"), make_compressor(seed=seed)).eval()


@pytest.fixture
def bags(tmp_path: Path) -> list[Path]:
    return [write_bag(tmp_path / "features" / f"s{i}.h5", 20 + i, seed=i) for i in range(3)]


def test_cached_tokens_are_the_encoder_s_to_the_bit(tmp_path: Path, bags: list[Path]) -> None:
    encoder = make_encoder()
    cache = SlotCache(tmp_path / "cache", encoder)
    assert cache.fill(bags, Silent()) == 3
    for path in bags:
        with torch.no_grad():
            tokens, _ = encoder(feature_tensor(path, 16), path.stem)
        assert torch.equal(cache.tokens(path), tokens)


def test_a_compressor_that_embeds_makes_tokens_of_its_own_length(
    tmp_path: Path, bags: list[Path]
) -> None:
    compressor = make_compressor(feature_dim=12, embedded_from=16)
    cache = SlotCache(tmp_path / "cache", build_visual(VisualConfig(kind="tcssa"), compressor))
    assert cache.fill(bags, Silent()) == 3
    expected = compressor.compress([feature_tensor(bags[0], 16)]).slots[0].detach()
    assert expected.shape == (6, 12)
    torch.testing.assert_close(cache.tokens(bags[0]), expected)
    wide = write_bag(tmp_path / "wide.h5", 5, feature_dim=12)
    with pytest.raises(FeatureDimError, match="features have D = 12, expected D = 16"):
        cache.fill([wide], Silent())


def test_a_second_call_compresses_nothing(tmp_path: Path, bags: list[Path]) -> None:
    SlotCache(tmp_path / "cache", make_encoder()).fill(bags, Silent())
    assert SlotCache(tmp_path / "cache", make_encoder()).fill(bags, Silent()) == 0


def test_processes_share_the_slides_among_them(tmp_path: Path, bags: list[Path]) -> None:
    cache = SlotCache(tmp_path / "cache", make_encoder())
    assert cache.fill(bags, Silent(), rank=0, num_ranks=2) == 2
    assert cache.fill(bags, Silent(), rank=1, num_ranks=2) == 1
    assert cache.fill(bags, Silent()) == 0


def test_changed_features_are_compressed_anew_and_touched_ones_are_not(
    tmp_path: Path, bags: list[Path]
) -> None:
    cache = SlotCache(tmp_path / "cache", make_encoder())
    cache.fill(bags, Silent())
    before = cache.tokens(bags[0])
    os.utime(bags[1])  # touched, the same content
    with h5py.File(bags[0], "r+") as file:
        file["features"][:] = np.asarray(file["features"]) + 1
    assert cache.fill(bags, Silent()) == 1
    assert not torch.equal(cache.tokens(bags[0]), before)
    assert cache.fill(bags, Silent()) == 0


def test_another_compressor_has_another_folder(tmp_path: Path, bags: list[Path]) -> None:
    one, other = make_encoder(0), make_encoder(1)
    assert encoder_hash(one) == encoder_hash(make_encoder(0)) != encoder_hash(other)
    SlotCache(tmp_path / "cache", one).fill(bags, Silent())
    cache = SlotCache(tmp_path / "cache", other)
    with pytest.raises(CheckpointError):
        cache.tokens(bags[0])
    assert cache.fill(bags, Silent()) == 3


def test_a_broken_cache_file_is_made_again(tmp_path: Path, bags: list[Path]) -> None:
    cache = SlotCache(tmp_path / "cache", make_encoder())
    cache.fill(bags, Silent())
    kept = cache.tokens(bags[2]).clone()  # the file's own memory, and the file is broken next
    (cache.folder / "s2.safetensors").write_bytes(b"half a fi")
    assert cache.fill(bags, Silent()) == 1
    assert torch.equal(cache.tokens(bags[2]), kept)


def test_features_that_make_no_sense_are_named(tmp_path: Path) -> None:
    cache = SlotCache(tmp_path / "cache", make_encoder())
    wide = write_bag(tmp_path / "wide.h5", 5, feature_dim=24)
    with pytest.raises(FeatureDimError, match=r"wide\.h5: features have D = 24, expected D = 16"):
        cache.fill([wide], Silent())
    broken = write_bag(tmp_path / "nan.h5", 5)
    with h5py.File(broken, "r+") as file:
        file["features"][3, 7] = np.nan
    with pytest.raises(NonFiniteFeatureError, match=r"nan\.h5: the features of row 3"):
        cache.fill([broken], Silent())


def test_slots_with_places_are_told_where_patches_lie(tmp_path: Path) -> None:
    encoder = build_visual(VisualConfig(), make_compressor(spatial=True)).eval()
    path = write_bag(tmp_path / "S.h5", num_patches=20)
    with pytest.raises(FeatureFileError, match="does not say where its patches lie in µm"):
        SlotCache(tmp_path / "slots", encoder).fill([path], Silent())
    with h5py.File(path, "r+") as file:
        file["coords"].attrs["mpp_level0"] = 0.5
        coords = file["coords"][:]
    cache = SlotCache(tmp_path / "slots", encoder)
    cache.fill([path], Silent())
    features = feature_tensor(path, 16)
    expected = encoder.compressor.compress([features], coords=[torch.from_numpy(coords * 0.5)])
    torch.testing.assert_close(cache.tokens(path), expected.slots[0].detach())


def test_merged_slides_have_tokens_of_their_own(tmp_path: Path, bags: list[Path]) -> None:
    encoder = make_encoder()
    cache = SlotCache(tmp_path / "cache", encoder)
    both = (bags[0], bags[1])
    assert cache.fill([bags[0], both], Silent()) == 2
    assert cache.fill([bags[0], both], Silent()) == 0
    patches = torch.cat([feature_tensor(path, 16) for path in both])
    with torch.no_grad():
        tokens, _ = encoder(patches, "both")
    torch.testing.assert_close(cache.tokens(both), tokens, atol=2e-6, rtol=0)
    assert not torch.allclose(cache.tokens(bags[0]), tokens, atol=1e-3)
    bags[1].touch()
    assert cache.find(both) is not None  # the same content
    with h5py.File(bags[1], "r+") as file:
        file["features"][:] = file["features"][:] + 1
    assert cache.find(both) is None
    assert cache.fill([bags[0], both], Silent()) == 1


def test_a_broken_slide_among_merged_ones_is_the_one_named(
    tmp_path: Path, bags: list[Path]
) -> None:
    bags[1].write_bytes(b"no file of features")
    faulty: dict[Path, Fault] = {}
    cache = SlotCache(tmp_path / "cache", make_encoder())
    assert cache.fill([tuple(bags), bags[2]], Silent(), faulty=faulty) == 1
    assert list(faulty) == [bags[1]]
    with pytest.raises(FeatureFileError, match=r"s1\.h5"):
        cache.fill([tuple(bags)], Silent())
