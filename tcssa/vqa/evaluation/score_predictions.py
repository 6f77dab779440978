"""Another system on a benchmark: its answers come from a file, the figures are the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tcssa.reporter import Reporter
from tcssa.vqa.answering.answer_record import AnswerRecord, chosen, unanswered, written
from tcssa.vqa.answering.reply import Reply
from tcssa.vqa.conversation import Question
from tcssa.vqa.data.benchmark import read_benchmark
from tcssa.vqa.evaluation.predictions import Predictions, read_predictions
from tcssa.vqa.evaluation.report import (
    Report,
    describe_benchmark,
    summarise,
    warn_of_faults,
    warn_of_unanswered,
    write_report,
)
from tcssa.vqa.settings import BenchmarkKind


def evaluate_predictions(
    predictions: Path, kind: BenchmarkKind, file: Path, reporter: Reporter, *, out: Path
) -> Report:
    """Score another system's answers in the same way as our own.

    Args:
        predictions: The file of answers; see `read_predictions`.
        kind: Which benchmark ``file`` is.
        file: The benchmark's questions.
        reporter: Warns of faulty rows, unknown ids and rows without an answer.
        out: Folder for the report.

    Raises:
        TableError: One of the files cannot be read.
    """
    benchmark = read_benchmark(kind, file)
    warn_of_faults(benchmark, reporter)
    read = read_predictions(predictions, benchmark.questions)
    for what, ids in (("unknown", read.unknown), ("contradictory", read.contradictory)):
        if ids:
            reporter.warn(f"{len(ids)} {what} ids in {predictions}, such as {ids[0]}")
    records = _records(benchmark.questions, read)
    metrics = {
        "system": {
            "name": predictions.stem,
            "predictions": str(predictions),
            "sha256": read.sha256,
        },
        "benchmark": describe_benchmark(benchmark),
        "asked": {"method": "predictions", "num_questions": len(records)},
        "predictions": {
            name: len(getattr(read, name))
            for name in ("unknown", "missing", "repeated", "contradictory")
        },
        **summarise(benchmark.questions, records),
    }
    warn_of_unanswered(metrics["statuses"], reporter)
    return write_report(out, metrics)


def _records(questions: Sequence[Question], read: Predictions) -> list[AnswerRecord]:
    """Return the answers of a file as if a model of ours had given them."""
    choices = {record.row_id: record.predicted_index for record in read.records}
    records = []
    for question in questions:
        text = read.texts.get(question.row_id)
        if text is None:
            records.append(unanswered(question, "missing", "the file has no answer"))
        elif question.row_id in choices:
            records.append(chosen(question, [Reply(choices[question.row_id], text=text)]))
        else:
            records.append(written(question, text))
    return records
