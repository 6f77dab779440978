"""Encoding an archive: feature files in, a file of slots for each slide out.

A slide that cannot be encoded is recorded with its reason and the others go on. The same command
again does what is left: a slide is done when its file says that it was made by this model from
this very input.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcssa import atomic
from tcssa.errors import (
    FeatureDimError,
    FeatureFileError,
    FileError,
    NonFiniteFeatureError,
    ShapeError,
    TcssaError,
    UsageError,
)
from tcssa.features import find_bags
from tcssa.reporter import Reporter, Silent
from tcssa_runtimes.base import EncodedSlide, Runtime
from tcssa_runtimes.facts import ModelFacts
from tcssa_runtimes.read_ahead import ReadAhead, SlideHeader
from tcssa_runtimes.slide_features import (
    FOLDER,
    Origin,
    read_origin,
    slide_features_path,
    write_slide_features,
)


@dataclass(frozen=True)
class FailedSlide:
    """A slide that was not encoded."""

    path: Path
    reason: str
    hint: str | None


@dataclass
class EncodeReport:
    """What became of an archive."""

    runtime: str
    """What really ran the model, and where."""
    num_encoded: int = 0
    """Slides encoded by this call, renewed ones among them."""
    num_renewed: int = 0
    """Slides whose older file was replaced: it was of another model or input, or broken."""
    num_skipped: int = 0
    """Slides that were done already."""
    failed: list[FailedSlide] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    """Files without a single patch, as slides without tissue have; nothing is written for them."""
    notes: list[str] = field(default_factory=list)
    """What one must know of how the model ran, such as a fallback to the CPU that was allowed."""
    num_patches: int = 0
    total_s: float = 0.0
    read_s: float = 0.0
    """Seconds of reading; most of them beside the computing, so the parts exceed the total."""
    wait_s: float = 0.0
    """Seconds in which nothing computed because the next patches were not read yet."""
    compute_s: float = 0.0
    write_s: float = 0.0

    @property
    def slides_per_s(self) -> float:
        """Slides encoded per second of the whole call."""
        return self.num_encoded / self.total_s if self.total_s else 0.0

    @property
    def patches_per_s(self) -> float:
        """Patches encoded per second of the whole call."""
        return self.num_patches / self.total_s if self.total_s else 0.0


def encode(
    bags: Iterable[Path],
    out: Path,
    runtime: Runtime,
    reporter: Reporter | None = None,
    *,
    overwrite: bool = False,
) -> EncodeReport:
    """Encode feature files into ``OUT/slide_features_tcssa/S.h5``.

    Args:
        bags: Feature files, and folders of them, as `tcssa.features.find_bags` takes them.
        out: The output folder.
        runtime: The model, as `open_runtime` returns it; it is entered only if there is work.
        reporter: Told of progress and of slides that fail.
        overwrite: Encode slides again that are done already.

    Raises:
        MissingDataError: A path does not exist, or a folder holds no feature file.
        UsageError: Two of the files are of the same slide.
        DeviceError: The runtime's device is not there.
        DiskFullError: There is no space left; finished slides are kept.
    """
    begin = time.perf_counter()
    reporter = reporter or Silent()
    report = EncodeReport(runtime.name)
    paths = find_bags(bags)
    _require_distinct(paths)
    atomic.discard_leftovers(out / FOLDER)
    to_do = [path for path in paths if overwrite or not _is_done(path, out, runtime.facts)]
    report.num_skipped = len(paths) - len(to_do)
    if to_do:
        with runtime:
            for note in runtime.notes:
                reporter.warn(note)
            report.runtime, report.notes = runtime.name, list(runtime.notes)
            _encode_all(to_do, out, runtime, reporter, report)
    report.total_s = time.perf_counter() - begin
    return report


def _encode_all(
    paths: Sequence[Path], out: Path, runtime: Runtime, reporter: Reporter, report: EncodeReport
) -> None:
    with (
        reporter.task("encode", total=len(paths), unit="slide") as task,
        ReadAhead(paths) as reader,
    ):
        for path in paths:
            task.describe(path.stem)
            try:
                header, slide = _encode_next(reader, runtime, report)
            except _NoPatchesError:
                report.empty.append(path)
                reporter.warn(f"{path.name} holds no patches and has no slots")
            except (FileError, ShapeError, NonFiniteFeatureError) as error:
                report.failed.append(_failure(path, error))
                reporter.warn(f"{path.name} was not encoded: {report.failed[-1].reason}")
            else:
                _write(slide, header, out, runtime, report)
            finally:
                reader.finish()
            task.advance()
        report.read_s, report.wait_s = reader.read_s, reader.wait_s


def _encode_next(
    reader: ReadAhead, runtime: Runtime, report: EncodeReport
) -> tuple[SlideHeader, EncodedSlide]:
    header = reader.header()
    if header.num_patches == 0:
        raise _NoPatchesError
    _require_fitting(header, runtime.facts)
    begin, waited = time.perf_counter(), reader.wait_s
    slide = runtime.encode(reader.chunks(), header.coords)
    report.compute_s += time.perf_counter() - begin - (reader.wait_s - waited)
    return header, slide


def _write(
    slide: EncodedSlide,
    header: SlideHeader,
    out: Path,
    runtime: Runtime,
    report: EncodeReport,
) -> None:
    begin = time.perf_counter()
    target = slide_features_path(out, header.path.stem)
    report.num_renewed += target.exists()
    write_slide_features(
        target,
        slide,
        origin=Origin.of(header.path, header.stat, runtime.facts.sha256),
        positions=header.positions,
        encoder=header.encoder or runtime.facts.encoder,
        runtime=runtime.name,
        classes=runtime.facts.classes,
    )
    report.write_s += time.perf_counter() - begin
    report.num_encoded += 1
    report.num_patches += slide.num_patches


class _NoPatchesError(Exception):
    """A slide without a single patch."""


def _require_fitting(header: SlideHeader, facts: ModelFacts) -> None:
    """Refuse a slide that the model was not made for, before its features are read.

    Raises:
        FeatureFileError: Its features are of another encoder or length.
    """
    if header.feature_dim != facts.feature_dim:
        raise FeatureDimError(header.path, facts.feature_dim, header.feature_dim)
    if None not in (header.encoder, facts.encoder) and header.encoder != facts.encoder:
        raise FeatureFileError(
            header.path,
            f"its features are of {header.encoder!r}, the model was trained on {facts.encoder!r}",
            hint="use features of the encoder that the model was trained on",
        )


def _is_done(path: Path, out: Path, facts: ModelFacts) -> bool:
    target = slide_features_path(out, path.stem)
    if not target.exists() or not path.exists():  # in a folder a link may lead nowhere
        return False
    return read_origin(target) == Origin.of(path, path.stat(), facts.sha256)


def _require_distinct(paths: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            raise UsageError(
                f"two files are of slide {path.stem!r}: {seen[path.stem]} and {path}",
                hint="give one of them, or encode them into different folders",
            )
        seen[path.stem] = path


def _failure(path: Path, error: TcssaError) -> FailedSlide:
    reason = error.reason if isinstance(error, FileError) else str(error)
    return FailedSlide(path, reason, error.hint)
