"""Rows of the benchmarks: SlideBench-VQA (TCGA), SlideBench-VQA (BCNB) and WSI-VQA.

SlideBench is CSV: ``ID,Slide,…,Question,A,B,C,D,Answer``, the answer a letter; options C and D may
be empty in BCNB; several slides stand in ``Slide`` with a semicolon between them. WSI-VQA is JSON:
``{"Id", "Question", "Choice", "Answer"}``, the answer the text of an option; without ``Choice`` the
question is open. Its ``Id`` is the patient, or a list of patients or slides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tcssa.vqa.conversation import IMAGE_MARK, LETTERS, MAX_OPTIONS, Question, same_words
from tcssa.vqa.data.faults import (
    EMPTY_ANSWER,
    EMPTY_QUESTION,
    MALFORMED,
    OUTSIDE,
    FaultError,
    slides_named,
)
from tcssa.vqa.settings import SeveralSlides

SLIDEBENCH_COLUMNS = ("ID", "Slide", "Question", "A", "B", "C", "D", "Answer")
TCGA_CATEGORIES = {"broad": "Broad Category", "narrow": "Narrow Category", "tumour": "Tumor"}
BCNB_CATEGORIES = {"task": "Task"}
_BETWEEN = ";"
"""Stands between several slides in a cell."""


def slidebench_question(
    row: Mapping[str, str],
    number: int,
    path: Path,
    categories: Mapping[str, str],
    several: SeveralSlides = "error",
) -> Question:
    """Parse one row of SlideBench-VQA.

    Args:
        row: Cells by column.
        number: Number of the row, from 1.
        path: The file, named in the question's source.
        categories: Column of each category, by our name for the category.
        several: What to do with rows about several slides.

    Raises:
        FaultError: The row cannot be used.
    """
    if not row["Slide"]:
        raise FaultError(number, MALFORMED, "names no slide")
    named = row["Slide"].split(_BETWEEN) if _BETWEEN in row["Slide"] else [row["Slide"]]
    slides = slides_named([name.strip() for name in named], number, "Slide", several)
    text = _text(row["Question"].replace(IMAGE_MARK, ""), number)
    stated = [row[letter] for letter in "ABCD"]
    options = _without_empty_end(stated)
    if len(options) < 2 or not all(options):
        raise FaultError(number, MALFORMED, f"needs two options or more, has {stated!r}")
    answer = row["Answer"].strip().rstrip(".").upper()
    if not answer:
        raise FaultError(number, EMPTY_ANSWER, "the answer is empty")
    if len(answer) != 1 or answer not in LETTERS[: len(options)]:
        detail = f"the answer {row['Answer']!r} is none of {', '.join(LETTERS[: len(options)])}"
        raise FaultError(number, OUTSIDE, detail)
    return Question(
        row_id=row["ID"] or str(number),
        slides=slides,
        text=text,
        options=tuple(options),
        answer=answer,
        answer_text=options[LETTERS.index(answer)],
        categories={ours: row[theirs] for ours, theirs in categories.items() if row.get(theirs)},
        source=f"{path.name}, row {number}",
    )


def wsi_vqa_question(
    row: Any, number: int, path: Path, several: SeveralSlides = "error"
) -> Question:
    """Parse one row of WSI-VQA; its number is its id, since patients have several questions.

    Args:
        row: The row, as parsed from JSON.
        number: Number of the row, from 1.
        path: The file, named in the question's source.
        several: What to do with rows about several patients or slides.

    Raises:
        FaultError: The row cannot be used.
    """
    named = row.get("Id") if isinstance(row, dict) else None
    named = [named] if isinstance(named, str) else named
    if not isinstance(named, list) or not all(isinstance(n, str) and n.strip() for n in named):
        raise FaultError(number, MALFORMED, "must be an object with an 'Id'")
    slides = slides_named([name.strip() for name in named], number, "Id", several)
    text = _string(row, "Question", number)
    marked = 1 < len(slides) == text.count(IMAGE_MARK) and not row.get("Choice")
    text = _text(text if marked else text.replace(IMAGE_MARK, ""), number)
    answer_text = _string(row, "Answer", number).strip()
    if not answer_text:
        raise FaultError(number, EMPTY_ANSWER, "the answer is empty")
    choice = row.get("Choice") or []
    if not isinstance(choice, list) or not all(isinstance(option, str) for option in choice):
        raise FaultError(number, MALFORMED, f"'Choice' must be a list of texts, found {choice!r}")
    options = [option.strip() for option in choice]
    answer = None
    if options:
        if not 2 <= len(options) <= MAX_OPTIONS or not all(options):
            raise FaultError(number, MALFORMED, f"needs 2 to 26 options, has {options!r}")
        same = [
            i for i, option in enumerate(options) if same_words(option) == same_words(answer_text)
        ]
        if not same:
            detail = f"the answer {answer_text!r} is not among {', '.join(options)}"
            raise FaultError(number, OUTSIDE, detail)
        answer, answer_text = LETTERS[same[0]], options[same[0]]
    return Question(
        row_id=str(number),
        slides=slides,
        text=text,
        options=tuple(options),
        answer=answer,
        answer_text=answer_text,
        categories={},
        source=f"{path.name}, row {number}",
    )


def _string(row: Mapping[str, Any], name: str, number: int) -> str:
    """Return the text under a name; one that is missing or null is empty."""
    value = row.get(name)
    if not isinstance(value, str | None):
        raise FaultError(number, MALFORMED, f"{name!r} must be text, found {value!r}")
    return value or ""


def _text(text: str, number: int) -> str:
    if not text.strip():
        raise FaultError(number, EMPTY_QUESTION, "the question is empty")
    return text.strip()


def _without_empty_end(options: Sequence[str]) -> list[str]:
    kept = list(options)
    while kept and not kept[-1]:
        kept.pop()
    return kept
