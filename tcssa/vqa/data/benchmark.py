"""Benchmarks of slide question answering: which there are, and reading one.

The literature mixes figures of different versions of a benchmark, so a benchmark is identified by
the SHA-256 of its file, its number of rows, and the version that this number implies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcssa.errors import TableError
from tcssa.files.checksums import file_sha256
from tcssa.files.table import read_table
from tcssa.files.text import read_json
from tcssa.vqa.conversation import IMAGE_MARK, Question
from tcssa.vqa.data.faults import (
    REPEATED_ID,
    REPEATED_OPTION,
    SEVERAL_TURNS,
    Fault,
    FaultError,
)
from tcssa.vqa.data.slidebench import (
    BCNB_CATEGORIES,
    SLIDEBENCH_COLUMNS,
    TCGA_CATEGORIES,
    slidebench_question,
    wsi_vqa_question,
)
from tcssa.vqa.data.slideinstruct import read_conversations
from tcssa.vqa.settings import BenchmarkKind, SeveralSlides

_CATEGORIES: dict[BenchmarkKind, Mapping[str, str]] = {
    "slidebench-tcga": TCGA_CATEGORIES,
    "slidebench-bcnb": BCNB_CATEGORIES,
}
_KNOWN_ROWS = (7827, 3176, 1494, 7247)
"""Rows of SlideBench-VQA (TCGA) in three versions, and of SlideBench-VQA (BCNB)."""


@dataclass(frozen=True)
class Benchmark:
    """The questions of a benchmark, and what is wrong with its other rows."""

    kind: BenchmarkKind
    path: Path
    sha256: str
    version: str
    """``7,827 rows`` where the number of rows is a known one, else ``other: N rows``."""
    num_rows: int
    """Rows of the file, whether they can be used or not."""
    questions: list[Question]
    """The rows that can be used; their ``row_id`` is unique."""
    row_faults: list[Fault] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """All faults, a line each, with their row."""
        return [str(fault) for fault in self.row_faults]


def read_benchmark(kind: BenchmarkKind, path: Path, several: SeveralSlides = "error") -> Benchmark:
    """Read a benchmark; faulty rows are left out, and every fault is listed.

    Args:
        kind: Which benchmark the file is; of ``conversations`` the first question of each is asked.
        path: The file: CSV for SlideBench, JSON for WSI-VQA, either form of conversations.
        several: What to do with rows about several slides.

    Raises:
        TableError: The file cannot be read, or is not of this kind.
    """
    if kind == "conversations":
        return _of_conversations(path, several)
    numbered = enumerate(_rows(kind, path), start=1)
    questions, faults, num_rows = [], [], 0
    seen: dict[str, int] = {}
    for number, row in numbered:
        num_rows = number
        try:
            question = _question(kind, row, number, path, several)
        except FaultError as error:
            faults.append(error.fault)
            continue
        if question.row_id in seen:
            detail = f"the id {question.row_id!r} stands in row {seen[question.row_id]} too"
            faults.append(Fault(number, REPEATED_ID, detail))
            continue
        seen[question.row_id] = number
        faults += _remarks(question, number)
        questions.append(question)
    return Benchmark(kind, path, file_sha256(path), _version(num_rows), num_rows, questions, faults)


def _rows(kind: BenchmarkKind, path: Path) -> Sequence[Any]:
    if kind == "wsi-vqa":
        rows: list[Any] = read_json(path, TableError, top=list)
        return rows
    needed = (*SLIDEBENCH_COLUMNS, *_CATEGORIES[kind].values())
    return list(read_table(path, needed=needed, delimiter=",", multiline=True).rows.values())


def _question(
    kind: BenchmarkKind, row: Any, number: int, path: Path, several: SeveralSlides
) -> Question:
    if kind == "wsi-vqa":
        return wsi_vqa_question(row, number, path, several)
    return slidebench_question(row, number, path, _CATEGORIES[kind], several)


def _of_conversations(path: Path, several: SeveralSlides) -> Benchmark:
    """Return the first question of each conversation in a file, which is an open one."""
    read = read_conversations(path, several)
    faults = [fault for fault in read.row_faults if fault.left_out]
    unread = {fault.row for fault in faults}
    numbers = (number for number in range(1, read.num_rows + 1) if number not in unread)
    questions: dict[str, Question] = {}
    for number, told in zip(numbers, read.conversations, strict=True):
        if told.row_id in questions:
            detail = f"the id {told.row_id!r} stands in {questions[told.row_id].source} too"
            faults.append(Fault(number, REPEATED_ID, detail))
            continue
        asked = [turn for turn in told.turns if turn.role != "system"]
        if len(told.turns) > 2:
            detail = "its first question alone is asked, without a system turn"
            faults.append(Fault(number, SEVERAL_TURNS, detail, left_out=False))
        slides, text = _first_asked(told.slides, [turn.text for turn in asked[::2]], several)
        answer = asked[1].text.strip()
        questions[told.row_id] = Question(
            told.row_id, slides, text.strip(), (), None, answer, {}, told.source
        )
    rows = read.num_rows
    found = sorted(faults, key=lambda fault: fault.row)
    kept = list(questions.values())
    return Benchmark("conversations", path, file_sha256(path), _version(rows), rows, kept, found)


def _first_asked(
    slides: tuple[str, ...], said: Sequence[str], several: SeveralSlides
) -> tuple[tuple[str, ...], str]:
    """Return the first question of a conversation, and the slides that it is about.

    Where each slide has a mark of its own, those marked in later questions are not shown yet;
    merged ones are, since they stand where the first of them does.
    """
    marks = [text.count(IMAGE_MARK) for text in said]
    if several == "concat" and 0 < marks[0] < len(slides) == sum(marks):
        slides = slides[: marks[0]]
    if len(slides) == 1:
        return slides, said[0].replace(IMAGE_MARK, "", 1)
    return slides, said[0] if marks[0] == len(slides) else said[0].replace(IMAGE_MARK, "")


def _remarks(question: Question, number: int) -> list[Fault]:
    """List what is odd in a row that can still be used."""
    if len({option.lower() for option in question.options}) == len(question.options):
        return []
    return [Fault(number, REPEATED_OPTION, "two options are the same", left_out=False)]


def _version(num_rows: int) -> str:
    return f"{'' if num_rows in _KNOWN_ROWS else 'other: '}{num_rows:,} rows"
