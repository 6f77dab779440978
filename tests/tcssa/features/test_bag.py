"""Bags as every tool of the field writes them, and files that mean harm."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from factories import write_bag
from shared_data import require_shared

from tcssa.errors import FeatureFileError
from tcssa.features import open_bag


def test_our_layout(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "s.h5", num_patches=10)
    with open_bag(path) as bag:
        assert (bag.slide_id, bag.num_patches, bag.feature_dim) == ("s", 10, 16)
        assert (bag.encoder, bag.patch_size_level0, bag.coords_unit) == (
            "test_encoder",
            224,
            "level0_px",
        )
        features, coords = bag.read(2, 5), bag.read_coords(2, 5)
        chunks = list(bag.chunks(4))
        whole = bag.read()
    assert features.shape == (3, 16)
    assert coords is not None
    assert coords.tolist() == [[448, 0], [0, 224], [224, 224]]
    assert [len(rows) for rows, _ in chunks] == [4, 4, 2]
    assert np.array_equal(np.concatenate([rows for rows, _ in chunks]), whole)


@pytest.mark.parametrize(
    ("name", "num_patches", "dim", "dtype", "first", "encoder"),
    [
        (
            "trident/job/20x_256px_0px_overlap/features_resnet18_random/CMU-1-Small-Region.h5",
            58, 512, "float32", [768, 0], "resnet18_random",
        ),
        ("clam/feats/h5_files/CMU-1-Small-Region.h5", 50, 1024, "float32", [50, 1089], None),
        ("clam/feats/pt_files/LC-001c11.pt", 28, 1024, "float32", None, None),
        (
            "stamp/job/resnet18-random-49b04e14/CMU-1-Small-Region.h5",
            75, 512, "float16", [1010.2, 224.0], "resnet18-random",
        ),
    ],
    ids=["trident", "clam h5", "clam pt", "stamp"],
)  # fmt: skip
def test_genuine_files_of_other_tools(
    name: str,
    num_patches: int,
    dim: int,
    dtype: str,
    first: list[float] | None,
    encoder: str | None,
) -> None:
    with open_bag(require_shared("interop") / name) as bag:
        assert (bag.num_patches, bag.feature_dim, bag.encoder) == (num_patches, dim, encoder)
        assert bag.read(0, 1).dtype == dtype
        coords = bag.read_coords(0, 1)
        assert bag.coords_unit == ("um" if "stamp" in name else "level0_px")
    if first is None:
        assert coords is None
    else:
        assert coords is not None
        np.testing.assert_allclose(coords[0], first, atol=0.05)


def test_clams_tensor_and_table_hold_the_same_features() -> None:
    folder = require_shared("interop/clam/feats")
    with (
        open_bag(folder / "h5_files/LC-001c11.h5") as table,
        open_bag(folder / "pt_files/LC-001c11.pt") as tensor,
    ):
        assert np.array_equal(table.read(), tensor.read())


@pytest.mark.parametrize("key", ["features", "feat", None])
@pytest.mark.parametrize("shape", [(7, 4), (1, 7, 4), (4,)])
def test_reference_tensors(tmp_path: Path, key: str | None, shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape)
    torch.save(tensor if key is None else {key: tensor}, tmp_path / "s.pt")
    with open_bag(tmp_path / "s.pt") as bag:
        assert np.array_equal(bag.read(), tensor.reshape(-1, 4).numpy())


def test_a_bfloat16_tensor_is_read_as_float32(tmp_path: Path) -> None:
    torch.save(torch.ones(3, 4, dtype=torch.bfloat16), tmp_path / "s.pt")
    with open_bag(tmp_path / "s.pt") as bag:
        assert bag.read().dtype == np.float32


def test_plain_arrays(tmp_path: Path) -> None:
    array = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float16)
    np.save(tmp_path / "s.npy", array)
    with open_bag(tmp_path / "s.npy") as bag:
        assert np.array_equal(bag.read(), array)


def test_tridents_spelling_of_none_is_no_size(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "s.h5")
    with h5py.File(path, "r+") as file:
        file["coords"].attrs["patch_size_level0"] = "None"
    with open_bag(path) as bag:
        assert bag.patch_size_level0 is None


def test_an_empty_bag_has_no_rows(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["features"] = np.zeros((0,), np.float32)
        file["coords"] = np.zeros((0, 2), np.int64)
    with open_bag(tmp_path / "s.h5") as bag:
        assert (bag.num_patches, bag.feature_dim) == (0, 0)


class Hostile:
    """Unpickling this makes a file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


def test_no_code_in_a_feature_file_runs(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    torch.save({"features": Hostile(witness)}, tmp_path / "s.pt")
    np.save(tmp_path / "s.npy", np.array({"feature": Hostile(witness)}, dtype=object))
    for name in ("s.pt", "s.npy"):
        with pytest.raises(FeatureFileError, match=rf"{name}: .*not loaded"):
            open_bag(tmp_path / name)
    assert not witness.exists()


def test_what_is_no_bag_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("hello")
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "s.txt").write_text("1,2")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = np.zeros(3)
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["features"] = np.zeros((3, 4, 5), np.float32)
    with h5py.File(tmp_path / "ints.h5", "w") as file:
        file["features"] = np.zeros((3, 4), np.int32)
    with h5py.File(tmp_path / "uneven.h5", "w") as file:
        file["features"] = np.zeros((3, 4), np.float32)
        file["coords"] = np.zeros((2, 2))
    with h5py.File(tmp_path / "cut.h5", "w") as file:
        file["features"] = np.zeros((3, 4), np.float32)
        file["features"].attrs["complete"] = False
    expected = {
        "missing.h5": "there is no such file",
        "text.h5": "is not a readable HDF5 file",
        "text.npy": "is not",
        "s.txt": "is no feature file",
        "other.h5": "neither 'features' nor 'feats'.*images",
        "flat.h5": r"must be \[N, D\], found \[3, 4, 5\]",
        "ints.h5": "must be floating point, found int32",
        "uneven.h5": "3 rows of features, but 2 of coords",
        "cut.h5": "was not written to its end",
    }
    for name, message in expected.items():
        with pytest.raises(FeatureFileError, match=message) as caught:
            open_bag(tmp_path / name)
        assert caught.value.path == tmp_path / name
