"""The script that trains every method on small sets of bags."""

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tcssa.features import read_features
from tcssa.mil.training.train import train
from tcssa.reporter import Silent

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "bag_tables.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bag_tables", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def digits(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    script.make_cohort("digits", folder, Path("unused"))
    return folder


def rows(cohort: Path) -> list[dict[str, str]]:
    with (cohort / "labels.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_a_bag_is_positive_if_it_holds_a_nine_and_no_image_is_in_two_groups(digits: Path) -> None:
    data = load_digits()
    known: dict[bytes, set[int]] = {}
    for image, kind in zip(data.data, data.target, strict=True):
        known.setdefault((image / 16).astype(np.float32).tobytes(), set()).add(int(kind))
    groups: dict[bytes, set[str]] = {}
    for row in rows(digits):
        images = read_features(digits / "features" / f"{row['slide_id']}.h5")
        kinds = [known[image.tobytes()] for image in images]
        assert all(len(kind) == 1 for kind in kinds)
        assert row["label"] == str(int({9} in kinds))
        for image in images:
            groups.setdefault(image.tobytes(), set()).add(row["case_id"])
    assert max(len(cases) for cases in groups.values()) == 1
    assert [row["label"] for row in rows(digits)].count("1") == len(rows(digits)) // 2


def test_the_table_names_what_is_not_finished(
    script: ModuleType, digits: Path, tmp_path: Path
) -> None:
    def table() -> str:
        content: str = script.table(tmp_path, ["digits"], ["mean", "abmil"], [0])
        return content

    assert table().count("unfinished") == 4
    run = script.run_folder(tmp_path, "digits", "mean", 0)
    metrics = train(script.settings(digits, "mean", 0, quick=True), run, Silent())
    accuracy = metrics.pooled["accuracy"]["value"]
    assert f"| mean | {accuracy:.3f} |" in table()
    assert table().count("unfinished") == 2
