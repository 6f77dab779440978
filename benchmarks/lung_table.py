"""Answers of a model that learned to see, by question, with intervals by composed slide.

    python benchmarks/lung_table.py FOLDER [FOLDER ...]

FOLDER is what ``learn_to_see.py`` wrote. `tcssa eval` draws views, which are what it knows of;
eight views are of one composed slide, so here all questions about one are drawn together.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lung_questions import LETTERS
from rich.console import Console
from rich.table import Table

from tcssa.vqa.evaluation.metrics import Record, Tally, score

Row = dict[str, Any]


def read_answers(folder: Path, data: Path) -> list[Row]:
    """Read the answers of a run, each with its question and the usual answer of training views."""
    asked = json.loads((data / "questions.test.json").read_text(encoding="utf-8"))
    usual = usual_answers(data)
    with (folder / "eval" / "answers.jsonl").open(encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream][1:]
    questions = [asked[int(row["row_id"]) - 1] for row in rows]
    return [
        {
            **row,
            "question": question["Question"],
            "usual": LETTERS[question["Choice"].index(usual[question["Question"]])],
        }
        for row, question in zip(rows, questions, strict=True)
    ]


def usual_answers(data: Path) -> dict[str, str]:
    """Return each question's most frequent answer about the training views, of equals the first."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for talk in json.loads((data / "questions.train.json").read_text(encoding="utf-8")):
        question, answer = (turn["value"] for turn in talk["conversations"])
        counts[question.removeprefix("<image>\n")][answer] += 1
    return {question: found.most_common(1)[0][0] for question, found in counts.items()}


def tallies(rows: Sequence[Row], answer_of: Callable[[Row], str]) -> dict[str, Tally]:
    """Accuracy of all rows and of each question."""
    records = [
        Record(
            row_id=row["row_id"],
            slide=row["slide"].rpartition("-")[0],
            answer_index=LETTERS.index(row["answer"]),
            predicted_index=LETTERS.index(answer_of(row)),
            status="answered",
            categories={"task": row["question"]},
        )
        for row in rows
    ]
    scores = score(records)
    return {"all": scores.overall, **scores.groups["task"]}


def table_of(folder: Path, data: Path) -> Table:
    """Return the table of a run of ``data``'s questions: the model, and what it must exceed."""
    rows = read_answers(folder, data)
    majority = Counter(row["answer"] for row in rows).most_common(1)[0][0]
    systems: dict[str, Callable[[Row], str]] = {
        "the model": lambda row: str(row["predicted"]),
        "blank slots": lambda row: str(row["blank"]["predicted"]),
        "slots of another slide": lambda row: str(row["other_slide"]["predicted"]),
        "usual answer in training": lambda row: str(row["usual"]),
        f"always {majority}": lambda _: majority,
    }
    found = {name: tallies(rows, answer_of) for name, answer_of in systems.items()}
    table = Table(title=f"{folder.name}: {len(rows)} questions")
    table.add_column("")
    for question, tally in found["the model"].items():
        table.add_column(f"{question}\n{tally.num_rows} rows, {tally.num_slides} slides")
    for name, by_question in found.items():
        table.add_row(name, *(_text(tally) for tally in by_question.values()))
    return table


def _text(tally: Tally) -> str:
    accuracy = tally.accuracy
    return f"{accuracy['value']:.3f} ({accuracy['low']:.3f} – {accuracy['high']:.3f})"


def main() -> None:
    """Print a table for every folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    console = Console(width=150)
    for folder in parser.parse_args().folders:
        has_data = (folder / "questions.test.json").exists()  # one of --budget has it above
        console.print(table_of(folder, folder if has_data else folder.parent))


if __name__ == "__main__":
    main()
