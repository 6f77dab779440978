"""The index of an encoded archive."""

import csv
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import entropy

from tcssa.errors import FileError, TableError
from tcssa_runtimes.archive.archive_index import (
    FailedSlide,
    IndexRows,
    each_indexed,
    read_index,
    write_failures,
    write_index,
)
from tcssa_runtimes.archive.slot_files import FOLDER, require_facts, write_slide_features
from tcssa_runtimes.archive.stored_slots import EncodedFacts, Origin, mass_entropy
from tcssa_runtimes.contract.outputs import EncodedSlide


def facts(folder: Path, name: str, mass: list[float], num_patches: int = 9) -> EncodedFacts:
    """What the file of a slide with these sums states."""
    path = folder / f"{name}.h5"
    sums = np.array(mass, np.float32)
    written = write_slide_features(
        path,
        EncodedSlide(np.zeros((len(mass), 3), np.float32), sums, None, num_patches),
        origin=Origin("c0ffee", f"{name}.pt", 10, 20, "feed"),
        positions=None,
        encoder=None,
        runtime="onnxruntime cpu",
    )
    assert require_facts(path) == written
    return written


def test_the_entropy_tells_even_use_from_one_slot() -> None:
    mass = np.array([3, 0, 1, 12, 0.5], np.float32)
    assert mass_entropy(mass) == pytest.approx(entropy(mass))
    assert mass_entropy(np.full(32, 7, np.float32)) == pytest.approx(np.log(32))
    for lone in ([0, 5, 0], [0, 0, 0], []):
        assert str(mass_entropy(np.array(lone, np.float32))) == "0.0"  # not -0.0


def test_the_order_of_slides_does_not_change_a_byte_and_names_come_back(tmp_path: Path) -> None:
    slides = [
        facts(tmp_path, "b", [1, 1]),
        facts(tmp_path, "a, the first", [2, 0], 0),
        facts(tmp_path, "é", [0, 0]),
    ]
    write_index(tmp_path / "one.csv", slides)
    write_index(tmp_path / "two.csv", iter(slides[::-1]))
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    rows = read_index(tmp_path / "one.csv")
    assert [row["slide_id"] for row in rows] == ["a, the first", "b", "é"]
    assert [row["num_patches"] for row in rows] == ["0", "9", "9"]
    assert [row["slots_in_use"] for row in rows] == ["1", "2", "0"]
    assert [row["mass_entropy"] for row in rows] == ["0.000000", "0.693147", "0.000000"]


def test_an_index_of_no_slides_is_read_again(tmp_path: Path) -> None:
    write_index(tmp_path / "index.csv", [])
    assert read_index(tmp_path / "index.csv") == []


def test_rows_take_no_memory_and_a_full_disk_is_said(tmp_path: Path) -> None:
    rows, one = IndexRows(), facts(tmp_path, "one", [1.0])
    rows.add(one)
    tracemalloc.start()
    for number in range(5000):
        rows.add(replace(one, name=f"slide-{number}"))
    assert tracemalloc.get_traced_memory()[0] < 200_000  # 40 bytes a row
    tracemalloc.stop()
    assert len(rows) == 5001
    assert "slide-4999" in rows
    rows._rows.execute("PRAGMA max_page_count = 1")
    with pytest.raises(FileError, match="temporary file: database or disk is full"):
        rows.add(replace(one, name="other" * 5000))


def test_an_index_that_is_no_text_is_damaged(tmp_path: Path) -> None:
    write_index(tmp_path / "index.csv", [facts(tmp_path / FOLDER, name, [1.0]) for name in "abcd"])
    assert [row.name for row in each_indexed(tmp_path)] == [*"abcd"]
    with (tmp_path / "index.csv").open("ab") as stream:
        stream.write(b"\xff\n")
    with pytest.raises(TableError, match=r"index\.csv: is not text in UTF-8"):
        list(each_indexed(tmp_path))


def test_all_counts_that_are_none_are_named_by_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "index.csv"
    write_index(path, [facts(tmp_path, name, [1.0], 1234) for name in "abcd"])
    lines = path.read_text().splitlines()
    for number, count in ((1, "-1"), (3, "many")):
        lines[number] = lines[number].replace("1234", count)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(TableError) as caught:
        read_index(path)
    assert caught.value.faults == [
        "line 2: num_patches '-1' is no count",
        "line 4: num_patches 'many' is no count",
    ]


def test_the_table_of_failures_is_there_as_long_as_there_are_some(tmp_path: Path) -> None:
    path = tmp_path / "failures.csv"
    failed = [
        FailedSlide(Path("b.h5"), "cannot be read", None),
        FailedSlide(Path("a.h5"), "row 3, NaN", "extract it again"),
    ]
    write_failures(path, failed)
    with path.open(newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["path", "reason", "what_to_do"],
            ["a.h5", "row 3, NaN", "extract it again"],
            ["b.h5", "cannot be read", ""],
        ]
    for _ in range(2):
        write_failures(path, [])
        assert not path.exists()
