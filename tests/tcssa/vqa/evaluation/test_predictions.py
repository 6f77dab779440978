"""Answers of other systems, and written answers beside references."""

import json
from pathlib import Path

import pytest

from tcssa.errors import TableError, UsageError
from tcssa.vqa.conversation import Question
from tcssa.vqa.evaluation.captions import score_captions
from tcssa.vqa.evaluation.predictions import read_predictions

QUESTIONS = [
    Question(str(i), (f"s{i}",), "what?", ("yes", "no"), "A", "yes", {}, "x") for i in range(5)
]


def write(path: Path, *rows: tuple[object, object]) -> Path:
    path.write_text("".join(json.dumps({"id": i, "answer": a}) + "\n" for i, a in rows))
    return path


def test_rows_are_set_beside_the_questions_and_every_oddity_is_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path / "gpt.jsonl",
        (0, "A"), (1, "The answer is B."), (2, "maybe"), (3, "A"), (3, "B"), ("zz", "A"), (0, "A"),
    )  # fmt: skip
    found = read_predictions(path, QUESTIONS)
    assert [(r.predicted_index, r.status) for r in found.records] == [
        (0, "answered"), (1, "answered"), (None, "invalid"), (None, "invalid"), (None, "missing"),
    ]  # fmt: skip
    assert found.unknown == ["zz"]
    assert found.missing == ["4"]
    assert found.repeated == ["0"]
    assert found.contradictory == ["3"]


def test_a_csv_of_answers_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("ID,Answer\n0,yes\n1,no\n")
    found = read_predictions(tmp_path / "x.csv", QUESTIONS)
    assert [record.predicted_index for record in found.records[:2]] == [0, 1]


def test_files_that_are_no_answers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(TableError, match="no column is an answer by its name"):
        read_predictions(tmp_path / "x.jsonl", QUESTIONS)
    (tmp_path / "x.jsonl").write_text("no json\n")
    with pytest.raises(TableError, match="line 1: is not valid JSON"):
        read_predictions(tmp_path / "x.jsonl", QUESTIONS)
    with pytest.raises(TableError, match="none of its 1 ids"):
        read_predictions(write(tmp_path / "x.jsonl", ("q", "A")), QUESTIONS)


def test_lines_of_json_end_at_line_ends_alone(tmp_path: Path) -> None:
    lines = ['{"id": "0", "answer": "A\u2028\x85"}', "", '{"id": 1, "answer": "no"}']
    for end in ("\n", "\r\n"):
        (tmp_path / "x.jsonl").write_bytes(end.join(lines).encode())
        found = read_predictions(tmp_path / "x.jsonl", QUESTIONS)
        assert sorted(found.texts) == ["0", "1"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('["0", "A"]', "line 2: must hold an object, holds a list"),
        ('{"id": ["0"], "answer": "A"}', "line 2: needs an id"),
        ('{"id": true, "answer": "A"}', "line 2: needs an id"),
        ('{"id": "0", "answer": {"A": 1}}', "line 2: the answer .answer. must be text"),
        ('{"id": "0", "id": "1", "answer": "A"}', "line 2: is not valid JSON"),
        ('{"id": "0", "answer": "\\ud800"}', "line 2: is not valid JSON"),
        ("[" * 100_000, "line 2: is JSON that is nested too deeply"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "x.jsonl").write_text(f'{{"id": "1", "answer": "A"}}\n{line}\n')
    with pytest.raises(TableError, match=reason):
        read_predictions(tmp_path / "x.jsonl", QUESTIONS)


def test_the_reference_s_results_name_slide_and_question(tmp_path: Path) -> None:
    """They hold no ids, and of each answer the text and what was read off it."""
    rows = [
        {
            "slide_id": f"features/s{i}.h5",
            "question": " What? ",
            "predicted_answer": "A",
            "ground_truth": "A",
            "generated_text": said,
            "category": "x/y",
            "correct": True,
        }
        for i, said in enumerate(["yes", "B because", "no", "yes"])
    ]
    rows.append({**rows[0], "slide_id": "other"})
    path = tmp_path / "results.json"
    path.write_text(
        json.dumps({"overall_accuracy": 1.0, "category_stats": {}, "predictions": rows})
    )
    found = read_predictions(path, QUESTIONS)
    assert (found.file.column, found.found_by) == ("generated_text", "slide and question")
    assert found.file.others == ["predicted_answer"]
    assert [record.predicted_index for record in found.records] == [0, None, 1, 0, None]
    assert (found.missing, found.unknown) == (["4"], ["other: What?"])


def test_a_plus_in_a_path_does_not_part_the_name_of_a_slide(tmp_path: Path) -> None:
    questions = [
        Question(str(n), slides, "What?", ("yes", "no"), "A", "yes", {}, "x")
        for n, slides in enumerate([("a",), ("b + c",), ("d", "e")])
    ]
    path = tmp_path / "theirs.json"
    slides = ["d + e/a.csv", "b + c", "x/d.csv + x/e.csv", "b + d"]
    path.write_text(
        json.dumps([{"slide": name, "question": "What?", "response": "A"} for name in slides])
    )
    found = read_predictions(path, questions)
    assert [record.predicted_index for record in found.records] == [0, 0, 0]
    assert (found.missing, found.unknown) == ([], ["b + d: What?"])


def test_ids_of_other_questions_are_refused(tmp_path: Path) -> None:
    rows = [{"id": i, "question": f"Who is {i}?", "output": "A"} for i in range(5)]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(TableError, match="id 0 asks 'Who is 0"):
        read_predictions(path, QUESTIONS)
    for row in rows[1:]:
        row["question"] = "<image>\nWhat?\nA) yes"
    path.write_text(json.dumps(rows))
    assert read_predictions(path, QUESTIONS).reworded == ["0"]


def test_captions_score_by_what_they_share_with_the_reference() -> None:
    same = score_captions(["The cat sat on the mat today."], ["the cat sat on the mat today"])
    assert same.exact == 1
    assert same.rouge_l == 1
    assert same.bleu1 == pytest.approx(1, abs=0.15)
    apart = score_captions(["", "wholly other words"], ["the cat sat", "on the mat"])
    assert apart.num_empty == 1
    assert (apart.exact, apart.rouge1, apart.bleu4) == (0, 0, 0)
    half = score_captions(["the cat"], ["the dog"])
    assert half.rouge1 == pytest.approx(0.5)
    with pytest.raises(UsageError):
        score_captions(["a"], [])
