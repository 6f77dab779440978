"""SlideChat's files: read, or refused without running anything."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tcssa.errors import FeatureFileError, NonFiniteFeatureError
from tcssa.features import find_bags, open_bag, read_features

FEATURES = np.arange(12, dtype=np.float32).reshape(3, 4) + 0.5


def save(path: Path, content: object) -> Path:
    np.save(path, np.array(content, dtype=object), allow_pickle=True)
    return path


@pytest.mark.parametrize("key", ["feature", "features"])
def test_a_pickled_array_or_tensor_is_read(tmp_path: Path, key: str) -> None:
    contents = (FEATURES, torch.from_numpy(FEATURES), torch.from_numpy(FEATURES).half())
    for number, features in enumerate(contents):
        path = save(tmp_path / f"{number}.npy", {"name": "x", "index": [1, 2], key: features})
        with open_bag(path) as bag:
            assert np.array_equal(bag.read(), FEATURES)
            assert bag.coords is None


class Hostile:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


class HostileStorage:
    """Bytes that torch is to load, with a hostile pickle in them."""

    def __init__(self, witness: Path) -> None:
        self.content = pickle.dumps(Hostile(witness))

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        from torch.storage import _load_from_bytes

        return _load_from_bytes, (self.content,)


@pytest.mark.parametrize("kind", [Hostile, HostileStorage])
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, kind: type) -> None:
    path = save(tmp_path / "s.npy", {"feature": FEATURES, "more": kind(tmp_path / "witness")})
    with pytest.raises(FeatureFileError):
        open_bag(path)
    assert not (tmp_path / "witness").exists()


def test_a_pickle_without_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureFileError, match="holds none of feature"):
        open_bag(save(tmp_path / "s.npy", {"other": FEATURES}))
    with pytest.raises(FeatureFileError, match="holds none of feature"):
        open_bag(save(tmp_path / "t.npy", {"feature": "text"}))


@pytest.mark.parametrize("header", ["", "0,1,2,3,name\n", "f0,f1,f2,f3,patch\n"])
def test_a_table_of_patches_is_read(tmp_path: Path, header: str) -> None:
    rows = [",".join(f"{x:g}" for x in row) + f",p_{i}_0.png" for i, row in enumerate(FEATURES)]
    (tmp_path / "s.csv").write_text(header + "\n".join(rows) + "\n")
    with open_bag(tmp_path / "s.csv") as bag:
        assert np.array_equal(bag.read(), FEATURES)


def test_a_faulty_row_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("1,2,3,a.png\n1,2,b.png\n")
    with pytest.raises(FeatureFileError, match="line 2 has 3 cells, the first line 4"):
        open_bag(tmp_path / "s.csv")
    (tmp_path / "s.csv").write_text("slide_id,label\n")
    with pytest.raises(FeatureFileError, match="holds no features"):
        open_bag(tmp_path / "s.csv")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('1,2,p0\n3,4,"p1\n5,6,p2\n', "line 2: is no row of a table"),
        ('1,2,p0\n3,4,"p1\n5,6,p2"\n', "line 2: a cell goes on over the end of the line"),
        ("1,2x,p0\n3,4,p1\n", "line 1: '2x' is no number"),
        ("1,2,p0\n3,4_0,p1\n", "line 2: '4_0' is no number"),
        ("1,2,p0\n3,\uff14,p1\n", "line 2: '\uff14' is no number"),
        ("a,b,c,name\n1,2,p0\n", "line 2 has 3 cells, the first line 4"),
    ],
)
def test_no_row_of_a_table_is_lost(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(FeatureFileError, match=reason):
        open_bag(tmp_path / "s.csv")


def test_numbers_that_are_not_finite_are_told_as_in_other_files(tmp_path: Path) -> None:
    for number in ("nan", "inf", "1e39"):
        (tmp_path / "s.csv").write_text(f"1,2,p0\n3,{number},p1\n")
        with pytest.raises(NonFiniteFeatureError, match="row 1"):
            read_features(tmp_path / "s.csv")


def test_in_a_folder_only_slides_tables_count(tmp_path: Path) -> None:
    for name in ("labels.csv", "TCGA-AA-0001-01Z-00-DX1.csv"):
        (tmp_path / name).write_text("1,2,a.png\n")
    assert [bag.name for bag in find_bags([tmp_path])] == ["TCGA-AA-0001-01Z-00-DX1.csv"]
    np.save(tmp_path / "other.npy", FEATURES)
    assert [bag.name for bag in find_bags([tmp_path])] == ["other.npy"]
