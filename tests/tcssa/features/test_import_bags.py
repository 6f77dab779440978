"""Classic multiple-instance tables as cohorts."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from shared_data import require_shared

from tcssa.errors import TableError
from tcssa.features import index_bags, open_bag, read_labels
from tcssa.features.import_bags import import_bags


def test_a_table_becomes_files_and_labels(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("1,7,0.5,1\n1,7,1.5,2\n0,10,2.5,3\n")
    made = import_bags(tmp_path / "t.csv", tmp_path / "out")
    assert (made.num_bags, made.num_instances, made.feature_dim) == (2, 3, 2)
    labels = {slide.slide_id: slide.label for slide in read_labels(made.labels)}
    assert labels == {"bag-07": "1", "bag-10": "0"}
    with open_bag(index_bags(made.features)["bag-07"]) as bag:
        assert bag.read().tolist() == [[0.5, 1], [1.5, 2]]
        assert bag.coords is None


def test_standardised_features_have_mean_0_and_deviation_1(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = np.column_stack([np.zeros(40), np.arange(40) // 4, 5 + 3 * rng.standard_normal((40, 3))])
    rows[:, 4] = 7  # a constant feature stays finite
    np.savetxt(tmp_path / "t.csv", rows, delimiter=",")
    made = import_bags(tmp_path / "t.csv", tmp_path / "out", standardise=True)
    features = np.concatenate(
        [open_bag(path).read() for path in index_bags(made.features).values()]
    )
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(features.std(axis=0), [1, 1, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "num_bags", "num_instances", "dim", "positive"),
    [("musk1", 92, 476, 166, 47), ("ucsb_breast_cancer", 58, 2002, 708, 26)],
)
def test_the_published_tables(
    tmp_path: Path, name: str, num_bags: int, num_instances: int, dim: int, positive: int
) -> None:
    made = import_bags(require_shared(f"mil/{name}.csv.gz"), tmp_path)
    assert (made.num_bags, made.num_instances, made.feature_dim) == (num_bags, num_instances, dim)
    assert sum(slide.label == "1" for slide in read_labels(made.labels)) == positive


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,bag,x\n1,1,2\n", "is no table of numbers"),
        ("1,1\n", "needs a label, a bag and features"),
        ("1,1,2\n0,1,3\n", "bag 1 has several labels"),
        ("1,1.2,2\n1,1.7,3\n", "bag 1.2 is no whole number; bag 1.7 is no whole number"),
        ("1,1,2\n\n1,1,nan\n", "line 3 holds a value that is not finite"),
        ("1,1,2\n1,1,1e39\n", "line 2 holds a value that is not finite in float32"),
        ("1,1,2\n1,1,0x1p3\n", r"is no table of numbers \(line 2: '0x1p3' is no number\)"),
        ("1,1,2#3\n", "line 1: '2#3' is no number"),
        ("1,1,2\n1,1\n", "line 2 has 2 cells, the first row 3"),
        ("1,1e30,2\n", "bag 1e[+]30 is no whole number"),
        ("", "the table is empty"),
    ],
)
def test_faulty_tables_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TableError, match=message):
        import_bags(tmp_path / "t.csv", tmp_path / "out")


def test_a_damaged_or_bursting_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    sound = gzip.compress(b"1,7,0.5\n0,8,0.25\n", mtime=0)
    path.write_bytes(sound)
    assert import_bags(path, tmp_path / "out").num_instances == 2
    for content in (sound[:-9], sound[:-8] + b"\0" * 8, b"1,7,0.5\n", b""):
        path.write_bytes(content)
        with pytest.raises(TableError, match=r"t\.csv\.gz: (cannot be read|the table is empty)"):
            import_bags(path, tmp_path / "out")
    path.write_bytes(gzip.compress(b"1,1,2\n" * 3_000_000))
    with pytest.raises(TableError, match="unpacks to more than 16,777,216 bytes of text") as caught:
        import_bags(path, tmp_path / "out")
    assert "TCSSA_MAX_UNPACKED_BYTES" in str(caught.value.hint)
