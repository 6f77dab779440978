"""Another system's answers, scored as our own are."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcssa.checksums import file_sha256
from tcssa.errors import TableError
from tcssa.vqa.answers import parse_answer
from tcssa.vqa.conversation import Question
from tcssa.vqa.metrics import Record
from tcssa.vqa.question_files import read_csv_rows, read_text

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
    """What was answered, by row_id; open questions included."""
    unknown: list[str] = field(default_factory=list)
    """Ids in the file that the benchmark does not have."""
    missing: list[str] = field(default_factory=list)
    """Ids of the benchmark that the file does not have; they count as wrong."""
    repeated: list[str] = field(default_factory=list)
    """Ids that stand there several times with the same answer; it counts once."""
    contradictory: list[str] = field(default_factory=list)
    """Ids that stand there with different answers; they count as invalid."""


def read_predictions(path: Path, questions: Sequence[Question]) -> Predictions:
    """Read answers (JSONL, or CSV with a header) to a benchmark's questions.

    Raises:
        TableError: The file cannot be read, rows are malformed, or no id is known.
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
    chosen, status = None, "missing"
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
    """Ids and answers, in their order."""
    if path.suffix.lower() == ".csv":
        rows: list[tuple[int, Any]] = list(enumerate(read_csv_rows(path, ()), start=2))
    else:
        rows = [
            (number, _json(path, number, line))
            for number, line in enumerate(read_text(path).splitlines(), start=1)
            if line.strip()
        ]
    faults, found = [], []
    for number, row in rows:
        row_id, answer = (_cell(row, names) for names in (_ID_NAMES, _ANSWER_NAMES))
        if row_id is None or answer is None:
            faults.append(
                f"line {number}: needs an id ({', '.join(_ID_NAMES)}) and an answer "
                f"({', '.join(_ANSWER_NAMES)})"
            )
        else:
            found.append((row_id, answer))
    if faults or not found:
        raise TableError(path, faults or ["holds no answer"])
    return found


def _json(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise TableError(path, [f"line {number}: is not valid JSON ({error})"]) from None


def _cell(row: Any, names: Sequence[str]) -> str | None:
    if not isinstance(row, dict):
        return None
    return next((str(row[name]).strip() for name in names if row.get(name) is not None), None)
