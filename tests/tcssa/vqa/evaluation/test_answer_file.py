"""Files of other systems' answers: what is read as the answer, and what is refused."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tcssa.errors import TableError
from tcssa.vqa.evaluation.answer_file import read_answers

BENCHMARK = {"ID": 1, "Slide": "S", "Question": "what?", "A": "yes", "B": "no", "Answer": "A"}


def table(path: Path, *rows: dict[str, Any], separator: str = ",") -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue())
    return path


@pytest.mark.parametrize(
    "column",
    [
        "Output", "output", "pred", "Pred", "prediction", "Predictions", "response", "Response",
        "model_output", "Model Output", "modelAnswer", "predicted_answer", "predictedAnswer",
        "LLM answer", "generated_text", "pred_label", "raw_response", "gpt answer", "completion",
        "Result", "GPT-4o", "ans",
    ],
)  # fmt: skip
def test_the_output_is_taken_and_never_the_right_answer(tmp_path: Path, column: str) -> None:
    for rest in ({"correct": True}, {"response_time": 3, "answer_id": "x"}):
        path = table(tmp_path / "x.csv", {"": 0, **BENCHMARK, column: "B", **rest})
        found = read_answers(path)
        assert found.column == column
        assert [(each.row_id, each.text) for each in found.answers] == [("1", "B")]


@pytest.mark.parametrize(
    "row",
    [
        BENCHMARK,
        {**BENCHMARK, "Explanation": "because"},
        {"id": 1, "question": "what?", "answer": "A"},
        {"id": 1, "gt": "A"},
        {"id": 1, "correct_answer": "A", "score": 1},
    ],
)
def test_a_file_with_the_right_answers_alone_is_refused(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    path = table(tmp_path / "x.csv", row)
    with pytest.raises(TableError) as caught:
        read_answers(path)
    assert "--answer-column" in str(caught.value.hint)
    last = list(row)[-1]
    assert read_answers(path, last).column == last


def test_two_outputs_are_refused_and_what_was_read_off_one_gives_way(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", {**BENCHMARK, "Output": "B", "Response": "A"})
    with pytest.raises(TableError, match="the answer could be 'Output' or 'Response'"):
        read_answers(path)
    assert read_answers(path, "Response").answers[0].text == "A"
    with pytest.raises(TableError, match="has no column 'Said'"):
        read_answers(path, "Said")
    path = table(tmp_path / "x.csv", {**BENCHMARK, "pred": "B", "raw_output": "It is B."})
    found = read_answers(path)
    assert (found.column, found.others) == ("raw_output", ["pred"])


@pytest.mark.parametrize(
    "row",
    [
        {"id": 1, "answer": "B"},
        {"question_id": 1, "prompt": "what?", "text": "B", "answer_id": "q", "model_id": "m"},
        {"id": 1, "question": "what?", "answer": "B", "ground_truth": "A"},
        {"ID": 1, "SlideChat": "B"},
    ],
)
def test_an_answer_beside_nothing_of_a_benchmark_is_the_system_s(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    assert read_answers(table(tmp_path / "x.csv", row)).answers[0].text == "B"
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    assert read_answers(tmp_path / "x.jsonl").answers[0].text == "B"


ROWS: list[dict[str, Any]] = [
    {"id": 1, "output": "A\u2028\x85\x0c"},
    {"id": 2, "output": ["B"]},
    {"id": 3, "output": None},
]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.json", json.dumps(ROWS)),
        ("x.json", json.dumps(ROWS, indent=2)),
        ("x.jsonl", json.dumps(ROWS)),
        ("x.jsonl", LINES),
        ("x.json", LINES),
        ("x.txt", LINES + "\n\n"),
        ("x.json", json.dumps({"model": "m", "results": ROWS})),
        ("x.json", json.dumps({str(row["id"]): {"output": row["output"]} for row in ROWS})),
        ("x.json", json.dumps({str(place): row for place, row in enumerate(ROWS)})),
        (
            "x.json",
            json.dumps(
                {name: {str(i): row[name] for i, row in enumerate(ROWS)} for name in ROWS[0]}
            ),
        ),
    ],
)
def test_json_in_every_form_is_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    found = read_answers(tmp_path / name)
    assert [(each.row_id, each.text) for each in found.answers] == [
        ("1", "A"), ("2", "B"), ("3", ""),
    ]  # fmt: skip


def test_an_object_from_ids_to_answers_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"1": "A", "2": "B"}')
    assert [each.row_id for each in read_answers(tmp_path / "x.json").answers] == ["1", "2"]


def test_other_separators_are_read(tmp_path: Path) -> None:
    path = table(tmp_path / "x.tsv", {**BENCHMARK, "Output": "B"}, separator="\t")
    assert read_answers(path).answers[0].text == "B"
