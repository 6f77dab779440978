"""Another system's answers, scored as our own are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcssa.errors import TableError
from tcssa.features.tables import slide_name
from tcssa.files.checksums import file_sha256
from tcssa.vqa.answering.answer_parser import parse_answer
from tcssa.vqa.answering.answer_record import Status
from tcssa.vqa.conversation import IMAGE_MARK, SLIDES_BETWEEN, Question, same_words
from tcssa.vqa.data.slide_index import without_uuid
from tcssa.vqa.evaluation.answer_file import AnswerFile, Given, read_answers
from tcssa.vqa.evaluation.metrics import Record


@dataclass(frozen=True)
class Predictions:
    """The answers of a file, set beside a benchmark's questions."""

    path: Path
    sha256: str
    file: AnswerFile
    found_by: str
    """How rows name their questions: ``id``, or ``slide and question``."""
    records: list[Record]
    """One for each question with options, in their order."""
    texts: dict[str, str]
    """The answers by row_id, those to open questions included."""
    unknown: list[str] = field(default_factory=list)
    """Ids, or slides with questions, in the file that the benchmark does not have."""
    missing: list[str] = field(default_factory=list)
    """Ids of the benchmark that the file does not have; they count as wrong."""
    repeated: list[str] = field(default_factory=list)
    """Ids that occur several times with the same answer; it counts once."""
    contradictory: list[str] = field(default_factory=list)
    """Ids that occur with different answers; they count as invalid."""
    reworded: list[str] = field(default_factory=list)
    """Ids whose question in the file is worded in another way than in the benchmark."""


def read_predictions(
    path: Path, questions: Sequence[Question], column: str | None = None
) -> Predictions:
    """Read answers to a benchmark's questions.

    Args:
        path: The file; see `read_answers`.
        questions: The benchmark's questions.
        column: The column of the answer; None chooses it by its name.

    Raises:
        TableError: The file cannot be read, rows are malformed, the answer's column is not clear,
            no row is about a question of the benchmark, or most ids are of other questions.
    """
    file = read_answers(path, column)
    known = {question.row_id: question for question in questions}
    found_by = "id" if any(each.row_id in known for each in file.answers) else "slide and question"
    given: defaultdict[str, list[str]] = defaultdict(list)
    unknown: dict[str, None] = {}
    for each, row_ids in zip(
        file.answers, _rows_of(file.answers, questions, found_by), strict=True
    ):
        for row_id in row_ids:
            given[row_id].append(each.text)
        if not row_ids:
            unknown[each.row_id or f"{each.slide}: {each.question}"] = None
    if not given:
        raise TableError(
            path,
            [f"none of its {len(unknown)} ids is of this benchmark, such as {list(unknown)[:3]}"],
            hint="give the ids of the question file: SlideBench's ID, WSI-VQA's row number; or "
            "slide and question",
        )
    reworded = _reworded(path, file.answers, known) if found_by == "id" else []
    several = {row_id: answers for row_id, answers in given.items() if len(answers) > 1}
    contradictory = sorted(row_id for row_id, answers in several.items() if len(set(answers)) > 1)
    return Predictions(
        path=path,
        sha256=file_sha256(path),
        file=file,
        found_by=found_by,
        records=[
            _record(question, given, contradictory)
            for question in questions
            if question.answer is not None
        ],
        texts={q.row_id: given[q.row_id][0] for q in questions if q.row_id in given},
        unknown=sorted(unknown),
        missing=[q.row_id for q in questions if q.row_id not in given],
        repeated=sorted(set(several) - set(contradictory)),
        contradictory=contradictory,
        reworded=reworded,
    )


def _rows_of(
    answers: Sequence[Given], questions: Sequence[Question], found_by: str
) -> list[list[str]]:
    """Return the row_ids of the questions that each answer is to: several where it cannot tell."""
    by_key: defaultdict[object, list[str]] = defaultdict(list)
    for question in questions:
        by_id = found_by == "id"
        by_key[question.row_id if by_id else _key(question.slides, question.text)].append(
            question.row_id
        )
    if found_by == "id":
        return [by_key.get(each.row_id, []) for each in answers]
    found = []
    for each in answers:
        slide, asked = each.slide or "", each.question or ""
        one, several = _key((slide,), asked), _key(slide.split(SLIDES_BETWEEN), asked)
        found.append(by_key.get(one) or by_key.get(several, []))
    return found


def _key(slides: Sequence[str], question: str) -> tuple[tuple[str, ...], str]:
    """Return what is the same for a slide, or several, and a question however they are spelt."""
    return tuple(without_uuid(slide_name(each))[0].lower() for each in slides), _words(question)


def _words(question: str) -> str:
    """Return a question as it reads without the places of slides."""
    return same_words(question.replace(IMAGE_MARK, " "))


def _reworded(path: Path, answers: Sequence[Given], known: Mapping[str, Question]) -> list[str]:
    """List the ids whose question in the file is not the benchmark's.

    Raises:
        TableError: They are most of those that can be compared: ids of another file.
    """
    asked = [(each, known.get(each.row_id or "")) for each in answers if each.question]
    both = [(each, question) for each, question in asked if question is not None]
    other = [
        (each, question)
        for each, question in both
        if _words(question.text) not in _words(each.question or "")
    ]
    if len(other) * 2 > len(both):
        each, question = other[0]
        raise TableError(
            path,
            f"{each.line}: id {each.row_id} asks {(each.question or '')[:60]!r}, in the benchmark "
            f"it is {question.text[:60]!r}",
            hint="give the question file that these answers are to",
        )
    return sorted({question.row_id for _, question in other})


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
