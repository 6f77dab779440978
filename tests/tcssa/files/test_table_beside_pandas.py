"""Tables that pandas reads rightly are read as it reads them, in every spelling of a table."""

import csv
import io
import random
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcssa.features import read_labels
from tcssa.files.table import is_missing, read_table

NAMES = ["slide_id", "label", "note, if any"]
WORDS = ["", "NA", "N/A", "nan", "NaN", "null", "NULL", "None", "<NA>", "n/a", "#N/A"]
CELLS = st.one_of(
    st.sampled_from(WORDS),
    st.text(st.sampled_from([*"ab1.'\"; ,\t", "é", "\u2028", "病"]), max_size=6),
)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6),
    encoding=st.sampled_from(ENCODINGS),
    separator=st.sampled_from([",", ";", "\t"]),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    blanks=st.lists(st.integers(0, 6), max_size=3),
)
def test_cells_and_missing_ones_are_those_of_pandas(
    tmp_path: Path,
    rows: list[tuple[str, str]],
    encoding: str,
    separator: str,
    end: str,
    quoting: int,
    blanks: list[int],
) -> None:
    lines = [NAMES, *([f"S{i}", *row] for i, row in enumerate(rows))]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator="\r", quoting=quoting)  # type: ignore[arg-type]
    writer.writerows(lines)
    written = text.getvalue().split("\r")
    for place in blanks:
        written.insert(min(place, len(written)), "")
    path = tmp_path / "t.csv"
    path.write_bytes(end.join(written).encode(encoding))
    asked = {"sep": separator, "encoding": encoding, "dtype": str}
    theirs = pd.read_csv(path, **asked, keep_default_na=False)
    table = read_table(path, multiline=True)
    ours = [list(row.values()) for row in table.rows.values()]
    assert [[cell.strip() for cell in row] for row in theirs.values.tolist()] == ours
    assert list(theirs.columns) == list(table.columns)
    unknown = pd.read_csv(path, **asked).isna().to_numpy().tolist()
    for cells, are_unknown in zip(ours, unknown, strict=True):
        assert all(
            is_missing(cell) for cell, is_na in zip(cells, are_unknown, strict=True) if is_na
        )
    numbers = [written.index(line) for line in written if line][1:]
    assert [number + 1 for number in numbers] == list(table.rows)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=st.lists(st.sampled_from(["a", "b", "1", "1.0", "2"]), min_size=2, max_size=8),
    seed=st.integers(0, 99),
    encoding=st.sampled_from(ENCODINGS),
    separator=st.sampled_from([",", ";", "\t"]),
)
def test_the_order_of_rows_says_nothing(
    tmp_path: Path, labels: list[str], seed: int, encoding: str, separator: str
) -> None:
    rows = [f"S{i}{separator}{label}" for i, label in enumerate(labels)]
    path = tmp_path / "labels.csv"
    read = []
    for order in (rows, random.Random(seed).sample(rows, len(rows))):
        text = "\n".join([f"slide_id{separator}label", *order])
        path.write_bytes(text.encode(encoding))
        read.append({slide.slide_id: slide.label for slide in read_labels(path)})
    assert read[0] == read[1]
    assert "1.0" not in read[0].values()
