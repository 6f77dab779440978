"""Our tables in DuckDB and in datasets: ids stay text where they are asked for as text."""

from pathlib import Path

import pytest

from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.cohort.splits import Fold, write_splits

IDS = ["0007", "0042", "0100", "0101", "1000"]


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """A run's splits.csv of slides whose ids look like numbers."""
    path = tmp_path / "splits.csv"
    slides = [CohortSlide(name, name, 0, Path(f"{name}.h5"), 1) for name in IDS]
    write_splits(path, slides, [Fold(slides[:2], slides[2:3], slides[3:])], ["a"])
    return path


def test_duckdb(splits: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    rows = duckdb.sql(
        f"select slide_id, fold_0 from read_csv('{splits}', all_varchar = true)"
    ).fetchall()
    assert [slide for slide, _ in rows] == IDS
    assert rows[2] == ("0100", "val")


def test_datasets(splits: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {name: datasets.Value("string") for name in ("slide_id", "case_id", "label", "fold_0")}
    )
    table = datasets.load_dataset(
        "csv", data_files=str(splits), features=features, cache_dir=str(tmp_path / "cache")
    )["train"]
    assert table["slide_id"][:] == IDS
