"""Workbooks of Excel are read as the tables that they hold, or refused in one line."""

import sys
import zipfile
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from tcssa.errors import MissingExtraError, TableError
from tcssa.features import LabelledSlide, read_labels
from tcssa.files.table import read_table


def book(tmp_path: Path, rows: list[list[object]], name: str = "t.xlsx") -> Path:
    written = openpyxl.Workbook()
    for row in rows:
        written.active.append(row)
    written.save(tmp_path / name)
    return tmp_path / name


def test_cells_are_the_text_that_excel_shows(tmp_path: Path) -> None:
    path = book(
        tmp_path,
        [
            ["slide_id", "grade", "mpp", "fresh", "seen", "note"],
            ["S1", 1, 0.2525, True, datetime(2024, 5, 6), "é, ;"],
            [],
            ["S2", 2.0, None, False, datetime(2024, 5, 6, 7, 8), "#N/A"],
            [None, " ", None, None, None, None],
        ],
    )
    assert [list(row.values()) for row in read_table(path).rows.values()] == [
        ["S1", "1", "0.2525", "TRUE", "2024-05-06", "é, ;"],
        ["S2", "2", "", "FALSE", "2024-05-06 07:08:00", "#N/A"],
    ]
    assert list(read_table(path).rows) == [2, 4]


def test_zeros_that_excel_shows_belong_to_a_name(tmp_path: Path) -> None:
    written = openpyxl.Workbook()
    written.active.append(["slide_id", "label"])
    written.active.append([7, "a"])
    written.active["A2"].number_format = "0000"
    written.save(tmp_path / "t.xlsx")
    assert read_labels(tmp_path / "t.xlsx") == [LabelledSlide("0007", "0007", "a", False)]


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    path = book(tmp_path, [["slide_id", "label"], ["S1", "a"]], "labels.csv")
    assert read_labels(path)[0].slide_id == "S1"


def test_two_sheets_are_two_readings(tmp_path: Path) -> None:
    written = openpyxl.Workbook()
    written.active.append(["slide_id", "label"])
    written.create_sheet("empty")
    written.create_sheet("hidden").append(["lists"])
    written["hidden"].sheet_state = "hidden"
    written.active.append(["S1", "a"])
    written.save(tmp_path / "one.xlsx")
    assert list(read_table(tmp_path / "one.xlsx").rows) == [2]
    written.create_sheet("others").append(["slide_id"])
    written.save(tmp_path / "two.xlsx")
    with pytest.raises(TableError, match=r"two\.xlsx: holds several sheets: Sheet, others"):
        read_table(tmp_path / "two.xlsx")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([["slide_id", "label"], ["S1", "=A2"]], r"line 2 has a formula without a stored value"),
        ([["slide_id", "label"], ["S1", "a", "b"]], "line 2 has 3 cells, the header 2"),
        ([["slide_id", "label"], ["S1\nS2", "a"]], "line 2: a cell goes on over the end"),
        ([["slide_id", "slide_id"], ["S1", "a"]], "cannot be told apart"),
        ([], "the table is empty"),
    ],
)
def test_what_has_two_readings_is_refused(
    tmp_path: Path, rows: list[list[object]], reason: str
) -> None:
    with pytest.raises(TableError, match=reason):
        read_table(book(tmp_path, rows))


def test_other_archives_and_old_workbooks_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
    with pytest.raises(TableError, match="is a zip archive, and no workbook of Excel"):
        read_table(tmp_path / "t.xlsx")
    (tmp_path / "t.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
    with pytest.raises(TableError, match=r"is a workbook of the old kind \(\.xls\)"):
        read_table(tmp_path / "t.xls")


def test_a_damaged_or_swollen_workbook_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = book(tmp_path, [["slide_id", "label"], ["S1", "a"]])
    monkeypatch.setenv("TCSSA_MAX_WORKBOOK_BYTES", "1000")
    with pytest.raises(TableError, match="bytes in a workbook, unpacked, and at most 1,000"):
        read_table(path)
    monkeypatch.delenv("TCSSA_MAX_WORKBOOK_BYTES")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(TableError, match=r"t\.xlsx: cannot be read"):
        read_table(path)


def test_without_openpyxl_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = book(tmp_path, [["slide_id", "label"], ["S1", "a"]])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match="needs the package 'openpyxl'") as caught:
        read_table(path)
    assert caught.value.hint == "pip install 'tcssa[excel]'"
