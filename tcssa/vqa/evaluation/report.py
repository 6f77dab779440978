"""Report of an evaluation: figures from the lines of an answer log, the same for every system."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from tcssa.errors import RunError
from tcssa.files import atomic
from tcssa.files.text import read_json, validated
from tcssa.reporter import Reporter
from tcssa.vqa.answering.permutation import mean_choice, position_bias
from tcssa.vqa.answering.question_runner import CONTROLS
from tcssa.vqa.conversation import LETTERS, Question
from tcssa.vqa.data.benchmark import Benchmark, Kind
from tcssa.vqa.data.faults import count_faults, num_left_out
from tcssa.vqa.evaluation.baselines import baselines
from tcssa.vqa.evaluation.captions import score_captions
from tcssa.vqa.evaluation.metrics import Record, Scores, score

METRICS_FILE = "metrics.json"
_MOST_TOKENS = 10**9
"""Most visual tokens of a slide in a report; no axis reaches further."""
Line = Mapping[str, Any]  # one line of the answer log: JSON


@dataclass(frozen=True)
class Report:
    """The folder of an evaluation, and its figures."""

    folder: Path
    metrics: dict[str, Any]


def describe_benchmark(benchmark: Benchmark) -> dict[str, Any]:
    """Describe a benchmark: which one it is, and what is wrong with its rows."""
    return {
        "kind": benchmark.kind,
        "file": str(benchmark.path),
        "sha256": benchmark.sha256,
        "version": benchmark.version,
        "num_rows": benchmark.num_rows,
        "num_left_out": num_left_out(benchmark.row_faults),
        "faults": count_faults(benchmark.row_faults),
    }


def summarise(questions: Sequence[Question], lines: Sequence[Line]) -> dict[str, Any]:
    """Compute all figures of the answers to some questions.

    Args:
        questions: The questions that were asked.
        lines: The log line of each, in the same order.

    Returns:
        The figures by name, JSON-able; None for a part that no question belongs to.
    """
    rows = list(zip(questions, lines, strict=True))
    closed = [(question, line) for question, line in rows if question.options]
    return {
        "statuses": dict(Counter(line["status"] for line in lines).most_common()),
        "num_visual_tokens": _median(line.get("num_visual") for line in lines),
        "scores": _scores(closed).to_dict() if closed else None,
        "option_mass": _median(line.get("option_mass") for line in lines),
        "controls": {name: _control(closed, name) for name in CONTROLS},
        "baselines": _baselines([question for question, _ in closed]),
        "permutation": _permutation(closed),
        "open": _open([(question, line) for question, line in rows if not question.options]),
    }


def warn_of_faults(benchmark: Benchmark, reporter: Reporter) -> None:
    """Warn of rows that cannot be used, or are doubtful.

    Args:
        benchmark: The benchmark, with its faults.
        reporter: Shows the warning.
    """
    faults = benchmark.faults
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        reporter.warn(f"{benchmark.path}: {'; '.join(faults[:3])}{more}")


def warn_of_unanswered(statuses: Mapping[str, int], reporter: Reporter) -> None:
    """Warn how many rows have no answer, and why.

    Args:
        statuses: Number of rows of each status.
        reporter: Shows the warning.
    """
    counts = ", ".join(f"{n} {status}" for status, n in statuses.items() if status != "answered")
    if counts:
        reporter.warn(f"rows without an answer, which count as wrong: {counts}")


def write_report(folder: Path, metrics: dict[str, Any]) -> Report:
    """Write ``metrics.json``.

    Args:
        folder: The folder of the evaluation.
        metrics: The content of the file, JSON-able.
    """
    atomic.write_text(folder / METRICS_FILE, json.dumps(metrics, indent=2) + "\n")
    return Report(folder, metrics)


class _Benchmark(BaseModel):
    kind: Kind
    sha256: str


class _Asked(BaseModel):
    num_questions: int


class _System(BaseModel):
    name: str


class _Accuracy(BaseModel):
    value: float = Field(ge=0, le=1)
    low: float | None = Field(ge=0, le=1)
    high: float | None = Field(ge=0, le=1)


class _Tally(BaseModel):
    accuracy: _Accuracy


class _Scores(BaseModel):
    overall: _Tally


class _Metrics(BaseModel):
    """The part of ``metrics.json`` that a comparison of reports reads."""

    benchmark: _Benchmark
    asked: _Asked
    system: _System
    num_visual_tokens: float | None = Field(ge=0, le=_MOST_TOKENS)
    scores: _Scores | None


def read_report(folder: Path) -> Report:
    """Read what `write_report` wrote.

    Raises:
        RunError: The report does not exist, is damaged, or is of a benchmark that is not known.
    """
    path = folder / METRICS_FILE
    metrics: dict[str, Any] = read_json(path, RunError, top=dict)
    validated(metrics, path, RunError, _Metrics)
    return Report(folder, metrics)


def _record(question: Question, line: Line, reply: Line) -> Record:
    return Record(
        question.row_id,
        question.slide,
        question.answer_index,
        _index(reply.get("predicted")),
        line["status"],
        question.categories,
    )


def _scores(closed: Sequence[tuple[Question, Line]]) -> Scores:
    return score([_record(question, line, line) for question, line in closed])


def _control(closed: Sequence[tuple[Question, Line]], name: str) -> dict[str, Any] | None:
    """Score a control over the same rows; None where it was not asked."""
    if not any(name in line for _, line in closed):
        return None
    records = []
    for question, line in closed:
        reply = line.get(name)
        if reply is not None:
            status = "invalid" if reply["predicted"] is None else "answered"
        else:  # the row itself was not asked, or the other slide is unusable or does not fit
            status = "not_asked" if line["status"] in ("answered", "invalid") else line["status"]
        records.append(_record(question, {"status": status}, reply or {}))
    return score(records).to_dict()


def _baselines(closed: Sequence[Question]) -> list[dict[str, Any]]:
    return [
        {
            "name": baseline.name,
            "rule": baseline.rule,
            "fitted_on": baseline.fitted_on,
            "scores": baseline.scores.to_dict(),
        }
        for baseline in (baselines(closed) if closed else [])
    ]


def _permutation(closed: Sequence[tuple[Question, Line]]) -> dict[str, Any] | None:
    """Measure how answers depend on where options stand; None where one order was asked."""
    asked = [(question, line) for question, line in closed if "orders" in line]
    if not asked:
        return None
    figures = position_bias(
        [
            {
                "num_options": len(question.options),
                "answer": question.answer_index,
                "orders": [_index(order["predicted"]) for order in line["orders"]],
            }
            for question, line in asked
        ]
    )
    if all("log_probs" in order for _, line in asked for order in line["orders"]):
        chosen = {
            question.row_id: mean_choice([order["log_probs"] for order in line["orders"]])
            for question, line in asked
        }
        records = [
            replace(_record(question, line, line), predicted_index=chosen.get(question.row_id))
            for question, line in closed
        ]
        figures["mean_of_orders"] = score(records).overall.accuracy
    return figures


def _open(rows: Sequence[tuple[Question, Line]]) -> dict[str, Any] | None:
    """Score answers to open questions against the references; a row without one is empty text."""
    if not rows:
        return None
    texts = [str(line.get("text") or "") for _, line in rows]
    scores = score_captions(texts, [question.answer_text for question, _ in rows])
    return {"statuses": dict(Counter(line["status"] for _, line in rows)), **asdict(scores)}


def _index(letter: str | None) -> int | None:
    return None if letter is None else LETTERS.index(letter)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
