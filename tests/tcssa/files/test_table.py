"""The one table reader: what it reads is what was written, and all else is refused."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcssa.errors import TableError
from tcssa.files.table import cells_by_line, number, numbers, read_table
from tcssa.files.text import lines_of

NAMES = ("slide_id", "label", "note")
SIGNS = st.sampled_from([*"ab\"', ;\t\r\n\v\x1c", "\x85", "\u2028", "\ufeff", "é", "\0"])
CELLS = st.one_of(st.text(SIGNS, max_size=6), st.text(max_size=6))


def table(tmp_path: Path, text: str) -> Path:
    (tmp_path / "t.csv").write_bytes(text.encode())
    return tmp_path / "t.csv"


def written(rows: list[tuple[str, ...]], end: str = "\n", separator: str = ",") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=end).writerows(rows)
    return text.getvalue()


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=5),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    separator=st.sampled_from([",", ";", "\t"]),
    multiline=st.booleans(),
)
def test_cells_come_back_exactly_or_the_table_is_refused(
    tmp_path: Path, rows: list[tuple[str, ...]], end: str, separator: str, multiline: bool
) -> None:
    path = table(tmp_path, written([NAMES, *rows], end, separator))
    try:
        read = read_table(path, multiline=multiline)
    except TableError:
        return
    wanted = [tuple(cell.strip() for cell in row) for row in rows if "".join(row).strip(" \t\r\n")]
    assert [tuple(row.values()) for row in read.rows.values()] == wanted
    assert tuple(read.columns) == NAMES


@given(st.lists(st.tuples(*[st.text("abé'.,;_-1 ", min_size=1)] * 3), min_size=1, max_size=5))
def test_plain_cells_are_never_refused(rows: list[tuple[str, ...]]) -> None:
    read = cells_by_line(lines_of(written([NAMES, *rows])), Path("t.csv"), TableError)
    assert [tuple(cells) for _, cells in read] == [NAMES, *(r for r in rows if "".join(r).strip())]


@given(st.text(st.sampled_from([*"ab\r\n\v\f\x1c", "\x85", "\u2028", "\u2029"])))
def test_lines_end_where_the_csv_module_ends_them(text: str) -> None:
    assert list(lines_of(text)) == list(io.StringIO(text, newline=""))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('slide_id,label\nS1,a\nS2,"b\nS3,a\n', "line 3: is no row of a table"),
        ('slide_id,label\nS1,a\nS2,"b\nS3,a"\n', "line 3: a cell goes on over the end"),
        ('slide_id,label\nS1,a\nS2,"b"c\n', "line 3: is no row of a table"),
        ('slide_id,label\nS1, "a"\n', "line 2: a quote stands behind a space"),
        ("slide_id,label\nS1,a,b\n", "line 2 has 3 cells, the header 2"),
        ("slide_id,label\n\n\nS1\n", "line 4 has 1 cells, the header 2"),
        ("slide_id,label\nS1;a\n", "line 2 has 1 cells, the header 2"),
        ("slide_id,label\nS1,a\nslide_id,label\nS2,b\n", "line 3 repeats the header"),
        ("slide_id,label\nS1,a\n\ufeffslide_id,label\n", "line 3 begins with a byte-order mark"),
        ("a,a\n1,2\n", "the columns 'a' and 'a' cannot be told apart"),
        ("Slide ID,slide_id\n1,2\n", "the columns 'Slide ID' and 'slide_id' cannot be told"),
        ("slide_id,label\n", "the table has a header and no rows"),
        ("\n \n", "the table is empty"),
    ],
)
def test_what_could_be_read_in_two_ways_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(TableError, match=reason):
        read_table(table(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ('"slide;id",label\nS1,a\n', ["S1", "a"]),
        ("\tslide_id\n0\tS1\n", ["S1"]),
        (",slide_id,label,\n0,S1,a,\n", ["S1", "a"]),
        ("slide_id,label,,\nS1,a\n", ["S1", "a"]),
        ("\n\nslide_id ; label\n S1 ;a\n,,\n", None),
        ("\ufeffslide_id\tlabel\rS1\ta", ["S1", "a"]),
        ('slide_id,label\nS1,5" tumour\n', ["S1", '5" tumour']),
    ],
)
def test_tables_as_programs_write_them(tmp_path: Path, text: str, cells: list[str] | None) -> None:
    path = table(tmp_path, text)
    if cells is None:  # the last row has no semicolon
        with pytest.raises(TableError, match="line 5 has 1 cells"):
            read_table(path)
    else:
        assert [list(row.values()) for row in read_table(path).rows.values()] == [cells]


def test_rows_are_found_by_the_line_on_which_they_begin(tmp_path: Path) -> None:
    path = table(tmp_path, 'q,a\n\n"one\ntwo",A\n\nthree,B\n')
    read = read_table(path, multiline=True)
    assert read.rows == {3: {"q": "one\ntwo", "a": "A"}, 6: {"q": "three", "a": "B"}}


def test_columns_of_classes_differ_by_a_sign(tmp_path: Path) -> None:
    path = table(tmp_path, "prob_1,prob_-1\n0.25,0.75\n")
    assert read_table(path, exact=True).rows == {2: {"prob_1": "0.25", "prob_-1": "0.75"}}
    with pytest.raises(TableError, match="cannot be told apart"):
        read_table(path)


def test_a_header_alone_will_do_where_the_reader_says_so(tmp_path: Path) -> None:
    assert read_table(table(tmp_path, "a,b\n"), may_be_empty=True).rows == {}


def test_a_decimal_comma_is_told_as_one() -> None:
    with pytest.raises(ValueError, match=r"'10,5' is no number \(write a point for the decimal"):
        number("10,5")
    with pytest.raises(ValueError, match=r"'1,000,5' is no number$"):
        number("1,000,5")


def test_short_rows_cannot_fill_the_memory(tmp_path: Path) -> None:
    wide = ",".join(f"c{i}" for i in range(100_000)) + "\n" + "x\n" * 100_000
    with pytest.raises(TableError, match="line 2 has 1 cells, the header 100000"):
        read_table(table(tmp_path, wide))
    with pytest.raises(TableError, match="has 100,001 columns, and at most 100,000 are read"):
        read_table(table(tmp_path, "a" + "," * 100_000 + "\n1\n"))


@pytest.mark.parametrize("cell", ["1_000", "\uff11", "\u0664", "0x10", "1,5", "", "one", "1 0"])
def test_numbers_are_spelt_as_tables_spell_them(cell: str) -> None:
    with pytest.raises(ValueError, match="is no number"):
        number(cell)
    with pytest.raises(ValueError, match="is no number"):
        numbers(["1", cell, "2"])


def test_numbers_are_those_of_python() -> None:
    assert numbers(["1", "-2.5e-3", "+.5", "inf"]) == [1, -0.0025, 0.5, float("inf")]
