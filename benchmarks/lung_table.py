"""Answers of a model that learned to see, by question, with intervals by composed slide.

    python benchmarks/lung_table.py FOLDER [FOLDER ...]

FOLDER is what ``learn_to_see.py`` wrote. `tcssa eval` draws views, which are what it knows of;
eight views are of one composed slide, so here all questions about one are drawn together.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lung_questions import LETTERS
from rich.console import Console
from rich.table import Table

from tcssa.vqa.evaluation.metrics import Record, Tally, score

Row = dict[str, Any]


def read_answers(folder: Path) -> list[Row]:
    """The answers of a run, each with its question's text."""
    asked = json.loads((folder / "questions.test.json").read_text(encoding="utf-8"))
    with (folder / "eval" / "answers.jsonl").open(encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream][1:]
    return [{**row, "question": asked[int(row["row_id"]) - 1]["Question"]} for row in rows]


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


def table_of(folder: Path) -> Table:
    """The model, and what it must be better than."""
    rows = read_answers(folder)
    majority = Counter(row["answer"] for row in rows).most_common(1)[0][0]
    systems: dict[str, Callable[[Row], str]] = {
        "the model": lambda row: str(row["predicted"]),
        "blank slots": lambda row: str(row["blank"]["predicted"]),
        "slots of another slide": lambda row: str(row["other_slide"]["predicted"]),
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
        console.print(table_of(folder))


if __name__ == "__main__":
    main()
