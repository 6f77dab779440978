"""Another system on a benchmark: its answers come from a file, the figures are the same."""

from __future__ import annotations

from pathlib import Path

from tcssa.reporter import Reporter
from tcssa.vqa.answering.question_runner import unanswered
from tcssa.vqa.conversation import LETTERS
from tcssa.vqa.data.benchmark import Kind, read_benchmark
from tcssa.vqa.evaluation.predictions import read_predictions
from tcssa.vqa.evaluation.report import (
    Report,
    describe_benchmark,
    summarise,
    warn_of_faults,
    warn_of_unanswered,
    write_report,
)


def evaluate_predictions(
    predictions: Path, kind: Kind, file: Path, reporter: Reporter, *, out: Path
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
    answers = {record.row_id: record for record in read.records}
    lines = []
    for question in benchmark.questions:
        line = unanswered(question, "missing", "the file has no answer")
        if question.row_id in answers:
            record = answers[question.row_id]
            index = record.predicted_index
            line["status"], line["predicted"] = (
                record.status,
                index if index is None else LETTERS[index],
            )
        elif question.row_id in read.texts:
            line["status"] = "answered"
        if question.row_id in read.texts:
            line["text"] = read.texts[question.row_id]
        lines.append(line)
    metrics = {
        "system": {
            "name": predictions.stem,
            "predictions": str(predictions),
            "sha256": read.sha256,
        },
        "benchmark": describe_benchmark(benchmark),
        "asked": {"method": "predictions", "num_questions": len(lines)},
        "predictions": {
            name: len(getattr(read, name))
            for name in ("unknown", "missing", "repeated", "contradictory")
        },
        **summarise(benchmark.questions, lines),
    }
    warn_of_unanswered(metrics["statuses"], reporter)
    return write_report(out, metrics)
