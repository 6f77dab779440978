"""An evaluation beside published figures: by category, with sources and the floors."""

from typing import Any

import pytest

from tcssa.vqa.answering.answer_record import written
from tcssa.vqa.conversation import Question
from tcssa.vqa.evaluation.published import Published, read_published
from tcssa.vqa.evaluation.published_table import Line, PublishedTable, published_table
from tcssa.vqa.evaluation.report import summarise
from tcssa.vqa.settings import BenchmarkKind


def metrics_of(kind: BenchmarkKind, num_options: int = 4) -> dict[str, Any]:
    """Six questions, two a category, the first of each answered rightly in a sentence."""
    options = tuple(f"option {k}" for k in range(num_options))
    questions = [
        Question(
            row_id=str(row), slides=(f"s{row}",), text="What?", options=options, answer="B",
            answer_text=options[1], source="",
            categories={"broad": ("Microscopy", "Diagnosis", "Clinical")[row // 2]},
        )
        for row in range(6)
    ]  # fmt: skip
    records = [
        written(question, "It is B, I think." if int(question.row_id) % 2 == 0 else "Hm.")
        for question in questions
    ]
    records = [each.model_copy(update={"status": "invalid"}) for each in records]
    return {
        "system": {"name": "mine"},
        "benchmark": {"kind": kind},
        **summarise(questions, records),
    }


def line(table: PublishedTable, name: str) -> Line:
    (found,) = [each for each in table.lines if each.name == name]
    return found


def test_paper_and_retrospective_stand_side_by_side_by_category() -> None:
    table = published_table(metrics_of("slidebench-tcga"), read_published())
    assert table.columns == ("Microscopy", "Diagnosis", "Clinical", "Overall")
    assert line(table, "TC-SSA").percents == (81.94, 77.14, 76.53, 78.34)
    retrospective = line(table, "TC-SSA, retrospective")
    assert retrospective.percents == (65.40, 49.80, 58.20, 54.65)
    assert "TRAINING_RETROSPECTIVE.md" in retrospective.origin
    assert line(table, "SparseLearn").percents == (None, None, None, 73.32)


def test_strict_and_lenient_reading_and_the_floors_are_measured_lines() -> None:
    table = published_table(metrics_of("slidebench-tcga"), read_published())
    assert line(table, "mine").percents == (0, 0, 0, 0)
    assert line(table, "mine, read leniently").percents == (50, 50, 50, 50)
    assert line(table, "random choice (expected)").percents == (25, 25, 25, 25)
    assert line(table, "majority letter").percents == (100, 100, 100, 100)
    assert [each.origin for each in table.lines[:2]] == ["measured", "measured"]


def test_a_benchmark_without_these_categories_has_one_column() -> None:
    for kind, column, published in (
        ("slidebench-bcnb", "BCNB", 55.94),
        ("wsi-vqa", "WSI-VQA*", 56.62),
    ):
        table = published_table(metrics_of(kind, num_options=2), read_published())  # type: ignore[arg-type]
        assert table.columns == (column,)
        assert line(table, "TC-SSA").percents == (published,)
        assert line(table, "random choice (expected)").percents == (50,)
        assert "SparseLearn" not in {each.name for each in table.lines}


def test_a_figure_without_its_source_is_refused() -> None:
    published = read_published().model_dump()
    del published["sources"]["paper"]
    with pytest.raises(ValueError, match="no source is called paper"):
        Published.model_validate(published)
