"""Another system's answers, scored as our own are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcssa.errors import TableError
from tcssa.files.checksums import file_sha256
from tcssa.files.table import read_table
from tcssa.files.text import lines_of, parse_json, read_text
from tcssa.vqa.answering.answer_parser import parse_answer
from tcssa.vqa.answering.answer_record import Status
from tcssa.vqa.conversation import Question
from tcssa.vqa.evaluation.metrics import Record

_ID_NAMES = ("row_id", "ID", "id", "question_id")
_ANSWER_NAMES = ("answer", "Answer", "prediction", "output", "text")


@dataclass(frozen=True)
class Predictions:
    """The answers of a file, set beside a benchmark's questions."""

    path: Path
    sha256: str
    records: list[Record]
    """One for each question with options, in their order."""
    texts: dict[str, str]
    """The answers by row_id, those to open questions included."""
    unknown: list[str] = field(default_factory=list)
    """Ids in the file that the benchmark does not have."""
    missing: list[str] = field(default_factory=list)
    """Ids of the benchmark that the file does not have; they count as wrong."""
    repeated: list[str] = field(default_factory=list)
    """Ids that occur several times with the same answer; it counts once."""
    contradictory: list[str] = field(default_factory=list)
    """Ids that occur with different answers; they count as invalid."""


def read_predictions(path: Path, questions: Sequence[Question]) -> Predictions:
    """Read answers to a benchmark's questions.

    Args:
        path: JSONL, or CSV with a header; each row has an id and an answer.
        questions: The benchmark's questions.

    Raises:
        TableError: The file cannot be read, rows are malformed, or no id is the benchmark's.
    """
    rows = _read(path)
    known = {question.row_id for question in questions}
    given: defaultdict[str, list[str]] = defaultdict(list)
    for row_id, answer in rows:
        given[row_id].append(answer)
    unknown = sorted(set(given) - known)
    if not set(given) & known:
        raise TableError(
            path,
            [f"none of its {len(given)} ids is of this benchmark, such as {unknown[:3]}"],
            hint="give the ids of the question file: SlideBench's ID, WSI-VQA's row number",
        )
    several = {row_id: answers for row_id, answers in given.items() if len(answers) > 1}
    contradictory = sorted(row_id for row_id, answers in several.items() if len(set(answers)) > 1)
    return Predictions(
        path=path,
        sha256=file_sha256(path),
        records=[
            _record(question, given, contradictory)
            for question in questions
            if question.answer is not None
        ],
        texts={q.row_id: given[q.row_id][0] for q in questions if q.row_id in given},
        unknown=unknown,
        missing=[q.row_id for q in questions if q.row_id not in given],
        repeated=sorted(set(several) - set(contradictory)),
        contradictory=contradictory,
    )


def _record(
    question: Question, given: Mapping[str, list[str]], contradictory: Sequence[str]
) -> Record:
    chosen: int | None = None
    status: Status = "missing"
    if question.row_id in given:
        if question.row_id not in contradictory:
            chosen = parse_answer(given[question.row_id][0], question.options)
        status = "invalid" if chosen is None else "answered"
    return Record(
        row_id=question.row_id,
        slide=question.slide,
        answer_index=question.answer_index,
        predicted_index=chosen,
        status=status,
        categories=question.categories,
    )


def _read(path: Path) -> list[tuple[str, str]]:
    """Return ids and answers, in the order of the file."""
    faults, found = [], []
    for line, row in _rows(path).items():
        row_id = _cell(row, _ID_NAMES, (str, int))
        answer = _cell(row, _ANSWER_NAMES, (str, int, float))
        if row_id is None or answer is None:
            faults.append(
                f"line {line}: needs an id ({', '.join(_ID_NAMES)}) and an answer "
                f"({', '.join(_ANSWER_NAMES)})"
            )
        else:
            found.append((row_id, answer))
    if faults or not found:
        raise TableError(path, faults or ["holds no answer"])
    return found


def _rows(path: Path) -> Mapping[int, Mapping[str, Any]]:
    """Read each row by its line number, unchecked."""
    if path.suffix.lower() == ".csv":
        return read_table(path, delimiter=",", multiline=True).rows
    return {
        number: parse_json(line, path, TableError, top=dict, line=number)
        for number, line in enumerate(lines_of(read_text(path, TableError)), start=1)
        if line.strip()
    }


def _cell(row: Mapping[str, Any], names: Sequence[str], kinds: tuple[type, ...]) -> str | None:
    """Return the first of these that is there, as text; None if none is, or of another kind."""
    value = next((row[name] for name in names if row.get(name) is not None), None)
    return str(value).strip() if isinstance(value, kinds) and not isinstance(value, bool) else None
