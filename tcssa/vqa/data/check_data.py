"""Check of a question file, before hours are spent on training or scoring with it.

All problems are collected: malformed rows, missing and ambiguous features, features of another
length, patients in both training and test, and rows too long for a language model.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcssa.errors import (
    AmbiguousFeaturesError,
    FeatureFileError,
    MissingFeaturesError,
    NonFiniteFeatureError,
    RepeatedSlideError,
    UsageError,
)
from tcssa.features import read_features
from tcssa.features.tables import patient_of, slide_name
from tcssa.reporter import Reporter, Silent
from tcssa.vqa.conversation import Conversation, Question
from tcssa.vqa.data.benchmark import read_benchmark
from tcssa.vqa.data.faults import Fault
from tcssa.vqa.data.lengths import LengthLimit, measure_lengths
from tcssa.vqa.data.row_slides import find_slides
from tcssa.vqa.data.slide_index import SlideIndex
from tcssa.vqa.data.slideinstruct import read_conversations
from tcssa.vqa.settings import FileKind, SeveralSlides


@dataclass(frozen=True)
class Finding:
    """One kind of problem."""

    kind: str
    count: int
    examples: list[str]
    """The first few, each with its place."""


@dataclass(frozen=True)
class DataCheck:
    """The result of checking a file and its features."""

    path: Path
    num_rows: int
    num_usable: int
    """Rows that can be read; their features may be missing all the same."""
    num_slides: int
    feature_dims: dict[int, int] = field(default_factory=dict)
    """Number of slides with features of each length D."""
    findings: list[Finding] = field(default_factory=list)
    longest: int | None = None
    """Tokens of the longest conversation; None where no language model was named."""

    @property
    def is_fit(self) -> bool:
        """True if nothing is wrong."""
        return not self.findings


def check_data(
    path: Path,
    kind: FileKind,
    *,
    features: Sequence[Path] = (),
    several: SeveralSlides = "error",
    other: Path | None = None,
    other_kind: FileKind = "conversations",
    limit: LengthLimit | None = None,
    reporter: Reporter | None = None,
) -> DataCheck:
    """Check a question file.

    Args:
        path: The file.
        kind: ``conversations``, or the benchmark it is.
        features: Folders of patch features, if they are to be looked for; all are read.
        several: What to do with rows about several slides, and patients who have several.
        other: The file of the other side, training or test, which must share no patient.
        other_kind: Kind of the file ``other``.
        limit: A language model's limit to the length of conversations; None measures no length.
        reporter: Shows progress.

    Raises:
        TableError: A file cannot be read, or is of another kind.
        MissingDataError: A folder of features does not exist, or is empty.
        UsageError: Two folders hold features of one slide, or lengths are asked of a benchmark.
        LlmError: The language model of ``limit`` is not found.
    """
    if limit is not None and kind != "conversations":
        raise UsageError(
            f"--llm measures rows to train on, and {path} is given as {kind}",
            hint="leave --llm out; eval counts questions that are too long",
        )
    reporter = reporter or Silent()
    num_rows, rows, faults = _read(path, kind, several)
    findings = _grouped((fault.kind, f"row {fault.row}: {fault.detail}") for fault in faults)
    dims: Counter[int] = Counter()
    slides = sorted({slide for row in rows for slide in row.slides})
    index = SlideIndex.from_folders(features, several) if features else None
    if index is not None:
        found, dims = _features(slides, index, reporter)
        findings += [*found, *_repeated(rows, index)]
    longest = None
    if limit is not None:
        told = [row for row in rows if isinstance(row, Conversation)]
        longest, too_long = measure_lengths(told, limit, reporter, several, index)
        findings += _grouped(too_long)
    if other is not None:
        _, others, _ = _read(other, other_kind, "concat")
        named = {slide for row in others for slide in row.slides}
        findings += _shared_patients(slides, named, other)
    return DataCheck(path, num_rows, len(rows), len(slides), dict(dims), findings, longest)


def _read(
    path: Path, kind: FileKind, several: SeveralSlides
) -> tuple[int, Sequence[Conversation | Question], Sequence[Fault]]:
    """Return the number of rows, those that can be used, and the faults."""
    if kind == "conversations":
        read = read_conversations(path, several)
        return read.num_rows, read.conversations, read.row_faults
    benchmark = read_benchmark(kind, path, several)
    return benchmark.num_rows, benchmark.questions, benchmark.row_faults


def _features(
    slides: Sequence[str], index: SlideIndex, reporter: Reporter
) -> tuple[list[Finding], Counter[int]]:
    wrong: list[tuple[str, str]] = []
    dims: dict[str, int] = {}
    with reporter.task("reading features", len(slides), "slides") as task:
        for slide in slides:
            try:
                shapes = {path.stem: read_features(path).shape for path in index.find(slide)}
            except MissingFeaturesError as error:
                wrong.append(("no features", str(error)))
            except AmbiguousFeaturesError as error:
                wrong.append(("several feature files", str(error)))
            except FeatureFileError as error:
                wrong.append(("unreadable features", str(error)))
            except NonFiniteFeatureError as error:
                wrong.append(("features not finite", str(error)))
            else:
                for stem, shape in shapes.items():
                    name = slide if len(shapes) == 1 else stem
                    if shape[0]:
                        dims[name] = shape[1]
                    else:
                        wrong.append(("no patches", name))
            task.advance()
    counts = Counter(dims.values())
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        wrong += [
            ("features of another length", f"{slide}: D = {dim}, most have {usual}")
            for slide, dim in dims.items()
            if dim != usual
        ]
    return _grouped(wrong), counts


def _repeated(rows: Sequence[Conversation | Question], index: SlideIndex) -> list[Finding]:
    """List the rows that name one slide in two ways, as by itself and by its patient."""
    wrong = []
    for row in rows:
        try:
            find_slides(row.slides, index)
        except RepeatedSlideError as error:
            wrong.append(("slide stands twice", f"{row.source}: {error}"))
        except (MissingFeaturesError, AmbiguousFeaturesError):  # told of by slide
            continue
    return _grouped(wrong)


def _shared_patients(slides: Iterable[str], others: Iterable[str], other: Path) -> list[Finding]:
    sides = [{patient_of(slide_name(slide)) for slide in side} for side in (slides, others)]
    shared = sorted(sides[0] & sides[1])
    return _grouped((f"patient also in {other.name}", patient) for patient in shared)


def _grouped(wrong: Iterable[tuple[str, str]], most: int = 5) -> list[Finding]:
    by_kind: defaultdict[str, list[str]] = defaultdict(list)
    for kind, example in wrong:
        by_kind[kind].append(example)
    return [Finding(kind, len(all_), all_[:most]) for kind, all_ in by_kind.items()]


def as_json(check: DataCheck) -> dict[str, Any]:
    """Return the check as plain data."""
    findings = [vars(finding) for finding in check.findings]
    return {**vars(check), "path": str(check.path), "findings": findings, "is_fit": check.is_fit}
