"""Evaluations side by side, paired question by question.

Two systems that were asked the same questions differ where only one of them is right. McNemar's
exact test weighs these questions; the interval of the difference is from a bootstrap by slide,
since questions about one slide are not independent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import RunError, UsageError
from tcssa.files import atomic
from tcssa.files.checksums import file_sha256
from tcssa.reporter import Reporter
from tcssa.statistics.intervals import Score, interval
from tcssa.statistics.metrics import Ints, resampled
from tcssa.vqa.answering.answer_log import ANSWERS_FILE, read_answer_log
from tcssa.vqa.conversation import LETTERS, Question
from tcssa.vqa.data.benchmark import read_benchmark
from tcssa.vqa.evaluation.comparison import require_same_rows
from tcssa.vqa.evaluation.report import Report, read_report

COMPARISON_FILE = "comparison.json"
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class PairedGroup:
    """Two systems on the same questions."""

    name: str
    """``overall``, or a category and its value."""
    num_rows: int
    num_slides: int
    first: float
    """Accuracy of the first system, over all rows."""
    other: float
    difference: Score
    """Accuracy of the other less that of the first."""
    only_first: int
    """Questions that only the first has right."""
    only_other: int
    p_value: float
    """McNemar's exact test, two-sided."""


@dataclass(frozen=True)
class PairedEvaluation:
    """One evaluation beside the first."""

    name: str
    groups: list[PairedGroup]


@dataclass(frozen=True)
class PairedComparison:
    """Evaluations on one benchmark, compared with the first of them."""

    benchmark: str
    first: str
    num_slides: int
    others: list[PairedEvaluation]


@dataclass(frozen=True)
class _Answered:
    """Slide and success of each question with options, by its ``row_id``, in order."""

    slides: dict[str, str]
    right: dict[str, bool]


def compare_evaluations(
    folders: Sequence[Path], reporter: Reporter, *, out: Path | None = None, seed: int = 0
) -> PairedComparison:
    """Compare evaluations of slide question answering with the first of them.

    Args:
        folders: Folders that ``eval --benchmark`` wrote, two or more.
        reporter: Warned where the categories are not known.
        out: Folder for ``comparison.json``; None writes nothing.
        seed: Seed of the bootstrap.

    Raises:
        UsageError: There are fewer than two folders, one is given twice, or they are not of the
            same questions.
        RunError: A folder holds no evaluation, or a damaged one.
    """
    if len(folders) < 2 or len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("give two or more different evaluations to compare")
    reports = [read_report(folder) for folder in folders]
    for report in reports:
        require_same_rows(reports[0], report)
    answers = [_read(folder) for folder in folders]
    for folder, answered in zip(folders[1:], answers[1:], strict=True):
        if answered.slides != answers[0].slides:
            reason = f"its questions are not those of {folders[0]}"
            raise RunError(folder, reason, hint="evaluate both on the same rows of the same file")
    slides = list(answers[0].slides.values())
    groups = _groups(reports[0], list(answers[0].slides), reporter)
    samples = resampled(slides, seed)
    named = _names(reports)
    others = [
        PairedEvaluation(name, _paired(answers[0], other, slides, groups, samples))
        for name, other in zip(named[1:], answers[1:], strict=True)
    ]
    kind = reports[0].metrics["benchmark"]["kind"]
    comparison = PairedComparison(kind, named[0], len(set(slides)), others)
    if out is not None:
        text = json.dumps(asdict(comparison), indent=2)
        atomic.write_text(out / COMPARISON_FILE, text + "\n")
        reporter.note(f"figures: {out / COMPARISON_FILE}")
    return comparison


def mcnemar(only_one: int, only_other: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Args:
        only_one: Pairs in which only the one is right.
        only_other: Pairs in which only the other is right.
    """
    total = only_one + only_other
    tail = sum(math.comb(total, k) for k in range(min(only_one, only_other) + 1))
    return min(1.0, float(2 * tail / 2**total))


def _read(folder: Path) -> _Answered:
    """Read the answers to questions with options, sorted by their ids."""
    slides, right = {}, {}
    for each in sorted(read_answer_log(folder / ANSWERS_FILE), key=lambda each: each.row_id):
        if each.answer not in tuple(LETTERS):
            continue  # an open question
        slides[each.row_id] = each.slide
        right[each.row_id] = each.predicted is not None and each.predicted == each.answer
    return _Answered(slides, right)


def _groups(report: Report, row_ids: Sequence[str], reporter: Reporter) -> dict[str, Bools]:
    """Return the rows of each category that the benchmark has, all rows first."""
    closed = _closed(report, reporter)
    everything = np.array([closed is None or row_id in closed for row_id in row_ids])
    groups = {"overall": everything}
    if closed is None:
        return groups
    values = [(row_id, closed[row_id].categories) for row_id in row_ids if row_id in closed]
    pairs = sorted({(name, value) for _, of in values for name, value in of.items() if value})
    for name, value in pairs:
        members = {row_id for row_id, of in values if of.get(name) == value}
        groups[f"{name}: {value}"] = np.array([row_id in members for row_id in row_ids])
    return groups


def _closed(report: Report, reporter: Reporter) -> Mapping[str, Question] | None:
    """Return the benchmark's questions with options; None where its file is gone or another."""
    told = report.metrics["benchmark"]
    path = Path(str(told.get("file", "")))
    if not path.is_file() or file_sha256(path) != told["sha256"]:
        reporter.warn(f"{path}: the question file is not there any more; no categories are shown")
        return None
    several = report.metrics["asked"].get("several", "concat")  # predictions have all scored
    questions = read_benchmark(told["kind"], path, several or "error").questions
    return {question.row_id: question for question in questions if question.options}


def _paired(
    first: _Answered,
    other: _Answered,
    slides: Sequence[str],
    groups: Mapping[str, Bools],
    samples: Sequence[Ints],
) -> list[PairedGroup]:
    one = np.array(list(first.right.values()))
    two = np.array(list(other.right.values()))
    apart = two.astype(float) - one.astype(float)
    named = np.array(slides)
    paired = []
    for name, mask in groups.items():
        drawn = [apart[sample][mask[sample]] for sample in samples]
        means = np.array([each.mean() if len(each) else np.nan for each in drawn])
        only_first, only_other = int((one & ~two & mask).sum()), int((two & ~one & mask).sum())
        paired.append(
            PairedGroup(
                name=name,
                num_rows=int(mask.sum()),
                num_slides=len(set(named[mask])),
                first=float(one[mask].mean()),
                other=float(two[mask].mean()),
                difference=interval(float(apart[mask].mean()), means),
                only_first=only_first,
                only_other=only_other,
                p_value=mcnemar(only_first, only_other),
            )
        )
    return paired


def _names(reports: Sequence[Report]) -> list[str]:
    """Return the systems' names, or their folders where two have the same."""
    names = [str(report.metrics["system"]["name"]) for report in reports]
    return names if len(set(names)) == len(names) else [str(each.folder) for each in reports]
