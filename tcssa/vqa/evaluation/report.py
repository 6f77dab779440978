"""Report of an evaluation: figures from the lines of an answer log, the same for every system."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from tcssa.crew.shares import Share
from tcssa.errors import RunError
from tcssa.files import atomic
from tcssa.files.text import read_json, validated
from tcssa.reporter import Reporter
from tcssa.vqa.answering.answer_record import CONTROLS, AnswerRecord, Status
from tcssa.vqa.answering.lenient_parser import parse_leniently
from tcssa.vqa.answering.permutation import mean_choice, position_bias
from tcssa.vqa.conversation import Question
from tcssa.vqa.data.benchmark import Benchmark
from tcssa.vqa.data.faults import count_faults, num_left_out
from tcssa.vqa.evaluation.baselines import baselines
from tcssa.vqa.evaluation.captions import score_captions
from tcssa.vqa.evaluation.metrics import Record, Scores, score
from tcssa.vqa.settings import BenchmarkKind

METRICS_FILE = "metrics.json"
_MOST_TOKENS = 10**9
"""Most visual tokens of a slide in a report; no axis reaches further."""
_Row = tuple[Question, AnswerRecord]


@dataclass(frozen=True)
class Report:
    """The folder of an evaluation, and its figures."""

    folder: Path
    metrics: dict[str, Any]
    shares: list[Share] = field(default_factory=list)
    """Each worker's part, where several shared the slides."""


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


def summarise(questions: Sequence[Question], records: Sequence[AnswerRecord]) -> dict[str, Any]:
    """Compute all figures of the answers to some questions.

    Args:
        questions: The questions that were asked.
        records: The answer to each, in the same order.

    Returns:
        The figures by name, JSON-able; None for a part that no question belongs to.
    """
    rows = list(zip(questions, records, strict=True))
    closed = [row for row in rows if row[0].options]
    return {
        "statuses": dict(Counter(each.status for each in records).most_common()),
        "num_visual_tokens": _median(each.num_visual for each in records),
        "scores": _scores(closed).to_dict() if closed else None,
        "lenient": _lenient(closed),
        "option_mass": _median(each.option_mass for each in records),
        "controls": {name: _control(closed, name) for name in CONTROLS},
        "baselines": _baselines([question for question, _ in closed]),
        "chance": _chance([question for question, _ in closed]),
        "permutation": _permutation(closed),
        "open": _open([row for row in rows if not row[0].options]),
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


def write_report(folder: Path, metrics: dict[str, Any], shares: Sequence[Share] = ()) -> Report:
    """Write ``metrics.json``.

    Args:
        folder: The folder of the evaluation.
        metrics: The content of the file, JSON-able.
        shares: Each worker's part in the work; none where one process worked alone.
    """
    atomic.write_text(folder / METRICS_FILE, json.dumps(metrics, indent=2) + "\n")
    return Report(folder, metrics, list(shares))


class _Benchmark(BaseModel):
    kind: BenchmarkKind
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


def _record(question: Question, status: Status, predicted: int | None) -> Record:
    return Record(
        question.row_id,
        question.slide,
        question.answer_index,
        predicted,
        status,
        question.categories,
    )


def _scores(closed: Sequence[_Row]) -> Scores:
    return score([_record(q, each.status, each.predicted_index) for q, each in closed])


def _lenient(closed: Sequence[_Row]) -> dict[str, Any] | None:
    """Score the same replies as a human would read them; None where no reply is text."""
    if not any(each.text is not None for _, each in closed):
        return None
    records, num_more = [], 0
    for question, each in closed:
        status, read = each.status, each.predicted_index
        if read is None and each.text is not None:
            read = parse_leniently(each.text, question.options)
            status = status if read is None else "answered"
            num_more += read is not None
        records.append(_record(question, status, read))
    return {"num_more": num_more, **score(records).to_dict()}


def _control(closed: Sequence[_Row], name: str) -> dict[str, Any] | None:
    """Score a control over the same rows; None where it was not asked."""
    if not any(each.control(name) for _, each in closed):
        return None
    records = []
    for question, each in closed:
        reply = each.control(name)
        status = each.status
        if reply is not None:
            status = "invalid" if reply.predicted is None else "answered"
        elif status in ("answered", "invalid"):  # the other slide is unusable or does not fit
            status = "not_asked"
        records.append(_record(question, status, reply.predicted_index if reply else None))
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


def _chance(closed: Sequence[Question]) -> dict[str, Any] | None:
    """Compute the accuracy that a choice at random is expected to have, over the same groups."""
    if not closed:
        return None
    groups: dict[str, dict[str, list[Question]]] = defaultdict(lambda: defaultdict(list))
    for question in closed:
        for category, value in question.categories.items():
            groups[category][value].append(question)
    return {
        "overall": _expected(closed),
        "groups": {
            category: {value: _expected(asked) for value, asked in sorted(by_value.items())}
            for category, by_value in sorted(groups.items())
        },
    }


def _expected(asked: Sequence[Question]) -> dict[str, Any]:
    value = statistics.fmean(1 / len(question.options) for question in asked)
    return {"num_rows": len(asked), "accuracy": {"value": value}}


def _permutation(closed: Sequence[_Row]) -> dict[str, Any] | None:
    """Measure how answers depend on where options stand; None where one order was asked."""
    asked = [(question, each.orders) for question, each in closed if each.orders is not None]
    if not asked:
        return None
    figures = position_bias(
        [
            {
                "num_options": len(question.options),
                "answer": question.answer_index,
                "orders": [order.predicted_index for order in orders],
            }
            for question, orders in asked
        ]
    )
    log_probs = {
        question.row_id: [order.log_probs for order in orders if order.log_probs is not None]
        for question, orders in asked
    }
    if all(len(log_probs[question.row_id]) == len(orders) for question, orders in asked):
        means = {row_id: mean_choice(each) for row_id, each in log_probs.items()}
        records = [_record(q, each.status, means.get(q.row_id)) for q, each in closed]
        figures["mean_of_orders"] = score(records).overall.accuracy
    return figures


def _open(rows: Sequence[_Row]) -> dict[str, Any] | None:
    """Score answers to open questions against the references; a row without one is empty text."""
    if not rows:
        return None
    texts = [each.text or "" for _, each in rows]
    scores = score_captions(texts, [question.answer_text for question, _ in rows])
    return {"statuses": dict(Counter(each.status for _, each in rows)), **asdict(scores)}


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
