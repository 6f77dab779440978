"""Another system on a benchmark: its answers come from a file, the figures are the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tcssa.config.settings import section_of
from tcssa.errors import RunError
from tcssa.files.boundary import reading
from tcssa.files.text import parse_json
from tcssa.reporter import Reporter
from tcssa.vqa.answering.answer_log import ANSWERS_FILE, AnswerLog
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

_SUSPICIOUS = 10
"""Rows from which a system that is always right may be the benchmark itself."""


def evaluate_predictions(
    predictions: Path,
    kind: BenchmarkKind,
    file: Path,
    reporter: Reporter,
    *,
    out: Path,
    column: str | None = None,
) -> Report:
    """Score another system's answers in the same way as our own.

    Args:
        predictions: The file of answers; see `read_predictions`.
        kind: Which benchmark ``file`` is.
        file: The benchmark's questions.
        reporter: Warns of faulty rows, unknown ids and rows without an answer.
        out: Folder for the report.
        column: The column of the answers; None chooses it by its name.

    Raises:
        TableError: One of the files cannot be read.
        RunError: ``out`` holds the answers of a model, which would be lost.
    """
    _require_no_models_answers(out / ANSWERS_FILE)
    benchmark = read_benchmark(kind, file, "concat")  # a row of several slides is as good here
    warn_of_faults(benchmark, reporter)
    read = read_predictions(predictions, benchmark.questions, column)
    _tell(read, reporter)
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
            "column": read.file.column,
            "other_columns": read.file.others,
            "found_by": read.found_by,
            **{
                name: len(getattr(read, name))
                for name in ("unknown", "missing", "repeated", "contradictory", "reworded")
            },
        },
        **summarise(benchmark.questions, records),
    }
    warn_of_unanswered(metrics["statuses"], reporter)
    scores = metrics["scores"]
    if scores and scores["overall"]["accuracy"]["value"] == 1 and len(records) >= _SUSPICIOUS:
        reporter.warn(
            f"every answer is right: make sure that {read.file.column!r} in {predictions} is no "
            "copy of the benchmark's own answers"
        )
    made_from = {"predictions": read.sha256, "benchmark": benchmark.sha256}
    with AnswerLog(out / ANSWERS_FILE, made_from, overwrite=True) as log:
        log.append(records)
    return write_report(out, metrics)


def _require_no_models_answers(path: Path) -> None:
    if not path.exists():
        return
    with reading(path, RunError), path.open(encoding="utf-8") as file:
        header = parse_json(file.readline(), path, RunError, top=dict, line=1)
    if "predictions" not in section_of(header, "made_from"):
        raise RunError(path, "holds the answers of a model", hint="give another --out")


def _tell(read: Predictions, reporter: Reporter) -> None:
    """Say what was taken for the answers, and what does not go together with the benchmark."""
    others = ", ".join(map(repr, read.file.others))
    reporter.note(
        f"the answers are in {read.file.column!r} of {read.path}"
        + (f"; it also has {others}, which --answer-column would take" if others else "")
        + ("" if read.found_by == "id" else f"; rows are found by {read.found_by}")
    )
    for what, ids in (
        ("unknown", read.unknown),
        ("contradictory", read.contradictory),
        ("reworded", read.reworded),
    ):
        if ids:
            reporter.warn(f"{len(ids)} {what} ids in {read.path}, such as {ids[0]}")


def _records(questions: Sequence[Question], read: Predictions) -> list[AnswerRecord]:
    """Return the answers of a file as if a model of ours had given them."""
    contradictory = set(read.contradictory)
    choices = {record.row_id: record.predicted_index for record in read.records}
    records = []
    for question in questions:
        text = read.texts.get(question.row_id)
        if text is None:
            records.append(unanswered(question, "missing", "the file has no answer"))
        elif question.row_id in contradictory:
            records.append(chosen(question, [Reply(None)]))
        elif question.row_id in choices:
            records.append(chosen(question, [Reply(choices[question.row_id], text=text)]))
        else:
            records.append(written(question, text))
    return records
