"""The table of answers about lung slides: a run beside what it must exceed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "lung_table.py"
QUESTION = "Is there tumour?"


def test_the_usual_answer_is_of_training_views_and_the_data_may_lie_above_a_run(
    tmp_path: Path,
) -> None:
    talks = [
        {"conversations": [{"value": f"<image>\n{QUESTION}"}, {"value": answer}]}
        for answer in ("yes", "no", "yes")
    ]
    (tmp_path / "questions.train.json").write_text(json.dumps(talks))
    choices = [["no", "yes"], ["yes", "no"], ["no", "yes"], ["no", "yes"]]
    asked = [{"Question": QUESTION, "Choice": each} for each in choices]
    (tmp_path / "questions.test.json").write_text(json.dumps(asked))
    answers: list[dict[str, Any]] = [{}]
    for number, right in enumerate("BBBA", start=1):
        said = {"predicted": right, "blank": {"predicted": "A"}, "other_slide": {"predicted": "A"}}
        answers.append({"row_id": str(number), "slide": f"S{number}-0", "answer": right, **said})
    run = tmp_path / "budget-8"
    (run / "eval").mkdir(parents=True)
    (run / "eval" / "answers.jsonl").write_text("\n".join(map(json.dumps, answers)))
    shown = subprocess.run(
        [sys.executable, SCRIPT, run], capture_output=True, text=True, check=True
    ).stdout
    value_of = {
        line.split("│")[1].strip(): line.split("│")[2].split()[0]
        for line in shown.splitlines()
        if line.count("│") > 2
    }
    # B, A, B, B are said: "yes" as in training, in the order of each question's options
    assert value_of["usual answer in training"] == "0.500"
    assert value_of["the model"] == "1.000"
    assert value_of["always B"] == "0.750"
