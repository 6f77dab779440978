"""Every reader of a table meets the same damages: each is refused by name, and no row is lost."""

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tcssa.errors import FeatureFileError, FileError, TableError
from tcssa.features import read_labels
from tcssa.features.import_bags import import_bags
from tcssa.features.readers.patch_table import read_csv_features
from tcssa.mil.cohort.split_files import read_parts
from tcssa.mil.cohort.splits import read_split_cases
from tcssa.mil.results.prediction_tables import read_predictions
from tcssa.mil.tasks import Classes
from tcssa.slides.extraction.report import SlideResult, update_failures
from tcssa.slides.manifest import read_manifest, read_resolutions
from tcssa.vqa.conversation import Question
from tcssa.vqa.data.benchmark import read_benchmark
from tcssa.vqa.evaluation.predictions import read_predictions as read_answers
from tcssa_runtimes.archive.archive_index import COLUMNS, read_index
from tcssa_runtimes.archive.inputs import read_manifest as read_archive

QUESTIONS = [Question(name, (name,), "?", ("a", "b"), "A", "a", {}, "x") for name in ("S1", "S2")]
ENTRIES = ("S1.h5", "S2.h5")
Row = Sequence[str]


@dataclass(frozen=True)
class Reader:
    """A reader, a table for it of two rows, and what it makes of each."""

    read: Callable[[Path], Sequence[object]]
    rows: list[list[str]]
    header: list[str] | None
    error: type[FileError] = TableError

    def table(self, *more: Row) -> list[list[str]]:
        """The cells of all lines."""
        return [*([self.header] if self.header else []), *self.rows, *map(list, more)]

    def noted(self, note: str) -> list[list[str]]:
        """The cells with a note in each row, in a column that nobody reads or a patch's name."""
        if self.header is not None:
            return [[*self.header, "remark"], *([*row, note] for row in self.rows)]
        if self.error is TableError:
            pytest.skip("all of its cells are numbers")
        return [[*row[:-1], note] for row in self.rows]


def _failures(path: Path) -> list[list[str]]:
    """The rows that stay in the table when one more slide fails."""
    update_failures(path, [SlideResult("S9", Path("S9"), "failed", reason="x")])
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))[1:-1]


READERS = {
    "labels": Reader(
        read_labels, [["P1", "S1", "a"], ["P2", "S2", "b"]], ["case_id", "slide_id", "label"]
    ),
    "manifest of slides": Reader(
        read_manifest, [["S1.h5", "0.5"], ["S2.h5", "0.25"]], ["wsi", "mpp"]
    ),
    "resolutions": Reader(
        lambda path: list(read_resolutions(path)),
        [["S1", "0.5"], ["S2", "0.25"]],
        ["slide_id", "mpp"],
    ),
    "splits by part": Reader(
        lambda path: list(read_parts(path)[0]), [["S1", "S2"], ["S3", "S4"]], ["train", "test"]
    ),
    "splits by fold": Reader(
        lambda path: list(read_parts(path)[0]),
        [["S1", "train", "test"], ["S2", "test", "val"]],
        ["slide_id", "fold_0", "fold_1"],
    ),
    "patients of a run": Reader(
        lambda path: list(read_split_cases(path)),
        [["S1", "P1", "a", "train"], ["S2", "P2", "b", "test"]],
        ["slide_id", "case_id", "label", "fold_0"],
    ),
    "predictions": Reader(
        lambda path: read_predictions(path, Classes(("a", "b"))),
        [["S1", "P1", "a", "a", "0", "0.75", "0.25"], ["S2", "P2", "b", "a", "1", "1.0", "0.0"]],
        ["slide_id", "case_id", "label", "predicted", "fold", "prob_a", "prob_b"],
    ),
    "benchmark": Reader(
        lambda path: read_benchmark("slidebench-bcnb", path).questions,
        [[number, "S1", "ER", "?", "a", "b", "", "", "A"] for number in "12"],
        ["ID", "Slide", "Task", "Question", "A", "B", "C", "D", "Answer"],
    ),
    "answers": Reader(
        lambda path: list(read_answers(path, QUESTIONS).texts),
        [["S1", "A"], ["S2", "B"]],
        ["ID", "answer"],
    ),
    "archive": Reader(read_archive, [["S1.h5", "x"], ["S2.h5", "y"]], ["path", "note"]),
    "index of an archive": Reader(
        read_index,
        [
            [
                slide,
                "5",
                "0.5",
                "2",
                "S.h5",
                "ab",
                "cd",
                "torch",
                "80",
                "1",
                "4",
                "1",
                "0",
                "90",
                "2",
            ]
            for slide in ("S1", "S2")
        ],
        list(COLUMNS),
    ),
    "failed slides": Reader(
        _failures, [["S1", "a/S1", "why"], ["S2", "a/S2", "why"]], ["slide_id", "path", "reason"]
    ),
    "features": Reader(
        read_csv_features, [["0.5", "1", "p1"], ["2", "3", "p2"]], None, FeatureFileError
    ),
    "bags": Reader(
        lambda path: range(import_bags(path, path.parent / "out").num_instances),
        [["1", "1", "0.5"], ["0", "2", "0.25"]],
        None,
    ),
}
NAMED = [name for name, reader in READERS.items() if reader.header]


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Reader:
    for name in ENTRIES:
        (tmp_path / name).touch()
    return READERS[request.param]


def joined(lines: Sequence[Row]) -> str:
    return "".join(",".join(line) + "\n" for line in lines)


def put(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(reader: Reader, path: Path, reason: str) -> None:
    with pytest.raises(reader.error, match=reason) as caught:
        reader.read(path)
    assert caught.type is reader.error
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_a_sound_table_is_read_whole(reader: Reader, tmp_path: Path) -> None:
    for end in ("\n", "\r\n", "\r"):
        text = joined(reader.table()).replace("\n", end)
        expected = 4 if reader.rows[0] == ["S1", "S2"] else 2
        assert len(reader.read(put(tmp_path, text))) == expected
        assert len(reader.read(put(tmp_path, "\ufeff" + text.rstrip(end)))) == expected


def test_an_open_quote_swallows_nothing(reader: Reader, tmp_path: Path) -> None:
    lines = reader.table()
    for place in range(len(lines[-2])):
        damaged = [*lines[:-2], list(lines[-2]), lines[-1]]
        damaged[-2][place] = f'"{damaged[-2][place]}'
        refused(reader, put(tmp_path, joined(damaged)), f"line {len(lines) - 1}")


def test_a_quote_that_another_row_closes_joins_nothing(tmp_path: Path) -> None:
    """Texts of questions, answers and reasons may hold line ends; names and labels may not."""
    multiline = ("benchmark", "answers", "failed slides")
    for name in READERS.keys() - set(multiline):
        lines = READERS[name].table()
        joint = [
            *lines[:-2],
            [*lines[-2][:-1], f'"{lines[-2][-1]}'],
            [f'{lines[-1][0]}"', *lines[-1][1:]],
        ]
        refused(READERS[name], put(tmp_path, joined(joint)), f"line {len(lines) - 1}")


def test_a_comma_too_many_or_too_few_moves_no_cell(reader: Reader, tmp_path: Path) -> None:
    lines = reader.table()
    for place in range(len(lines[-1])):
        longer = [*lines[:-1], [*lines[-1][:place], "x", *lines[-1][place:]]]
        refused(reader, put(tmp_path, joined(longer)), f"line {len(lines)}")
        shorter = [*lines[:-1], [*lines[-1][:place], *lines[-1][place + 1 :]]]
        refused(reader, put(tmp_path, joined(shorter)), f"line {len(lines)}")


@pytest.mark.parametrize("name", NAMED)
def test_of_two_equal_columns_none_wins(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    for place, column in enumerate(reader.table()[0]):
        twice = [[*line, line[place]] for line in reader.table()]
        refused(reader, put(tmp_path, joined(twice)), f"'{column}' and '{column}' cannot be told")


@pytest.mark.parametrize("name", NAMED)
def test_a_second_header_is_no_row(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    lines = reader.table(reader.table()[0])
    refused(reader, put(tmp_path, joined(lines)), f"line {len(lines)} repeats the header")


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\v", "\f", "\x1c", "\x1e"])
def test_no_other_sign_ends_a_line(reader: Reader, tmp_path: Path, sign: str) -> None:
    sound = len(reader.read(put(tmp_path, joined(reader.table()))))
    assert len(reader.read(put(tmp_path, joined(reader.noted(f"p{sign}q"))))) == sound


def test_a_cell_may_be_as_long_as_it_likes(reader: Reader, tmp_path: Path) -> None:
    sound = len(reader.read(put(tmp_path, joined(reader.table()))))
    assert len(reader.read(put(tmp_path, joined(reader.noted("w" * 140_000))))) == sound


def test_what_is_no_text_is_refused(reader: Reader, tmp_path: Path) -> None:
    text = joined(reader.table())
    for content in (text.encode() + b"\xff\x81\n", text.encode() + b"\0\n"):
        refused(reader, put(tmp_path, content), "is not text in UTF-8")
    refused(reader, put(tmp_path, text.encode("utf-16-le")), "to be UTF-16 without its mark")
    refused(
        reader, put(tmp_path, text.encode("utf-16")[:-1]), "is not text in UTF-16, as its first"
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(reader: Reader, tmp_path: Path, encoding: str) -> None:
    text = joined(reader.table())
    sound = list(reader.read(put(tmp_path, text)))
    if reader.read is _failures:
        put(tmp_path, text)
    assert str(list(reader.read(put(tmp_path, text.encode(encoding))))) == str(sound)


def test_a_code_page_is_named_and_not_guessed(reader: Reader, tmp_path: Path) -> None:
    text = joined(reader.noted("M\xfcller"))
    refused(reader, put(tmp_path, text.encode("cp1252")), "to be Windows-1252, .* has 'M\xfcller'")


def test_a_cut_table_is_read_as_it_is_or_refused(reader: Reader, tmp_path: Path) -> None:
    """A cut within the last cell cannot be seen; none may add a row, or make up one."""
    content = joined(reader.table()).encode()
    sound = len(reader.read(put(tmp_path, content)))
    for cut in range(len(content)):
        try:
            assert len(reader.read(put(tmp_path, content[:cut]))) <= sound
        except reader.error:
            continue


def test_nothing_and_no_file_are_refused(reader: Reader, tmp_path: Path) -> None:
    refused(reader, put(tmp_path, ""), "empty|holds no features")
    refused(reader, put(tmp_path, "\n\n \n"), "empty|holds no features")
    (tmp_path / "folder").mkdir()
    refused(reader, tmp_path / "folder", "is a folder|holds neither splits")


def test_a_file_that_is_not_there_is_named(reader: Reader, tmp_path: Path) -> None:
    if reader.read is _failures:
        pytest.skip("without the table there is no failed slide")
    refused(reader, tmp_path / "none.csv", "there is no such file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(reader: Reader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    refused(reader, tmp_path / "pipe.csv", "is no regular file")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all files")
def test_a_closed_file_is_refused(reader: Reader, tmp_path: Path) -> None:
    path = put(tmp_path, joined(reader.table()))
    path.chmod(0)
    refused(reader, path, "cannot be read")
