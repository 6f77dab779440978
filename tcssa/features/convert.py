"""Conversion of patch features from any layout that is read here to another tool's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tcssa.errors import (
    DiskFullError,
    FeatureFileError,
    FileError,
    TcssaError,
    UnknownNameError,
    UsageError,
    counted,
)
from tcssa.features.bag_metadata import describe
from tcssa.features.feature_set_path import BagRef
from tcssa.features.folder import by_slide, find_bags
from tcssa.features.opening import open_bag
from tcssa.features.written_layouts import LAYOUTS, Layout
from tcssa.files import atomic
from tcssa.reporter import Reporter, Silent


@dataclass(frozen=True)
class NotConverted:
    """A slide that failed: its file, the reason, and a hint what to do."""

    path: Path
    reason: str
    hint: str | None


@dataclass
class ConvertReport:
    """Outcome of a conversion.

    Attributes:
        num_converted: Slides written.
        num_skipped: Slides that had been written before.
        num_patches: Patches written.
        empty: Slides without patches, which get no file.
        unknown: Slides by the fact that their source does not give: ``coordinates``, ``mpp``,
            ``encoder``, ``patch size``.
        failed: Slides that could not be converted.
    """

    num_converted: int = 0
    num_skipped: int = 0
    num_patches: int = 0
    empty: list[str] = field(default_factory=list)
    unknown: dict[str, list[str]] = field(default_factory=dict)
    failed: list[NotConverted] = field(default_factory=list)


def convert(
    sources: Iterable[Path],
    to: str,
    out: Path,
    reporter: Reporter | None = None,
    *,
    slide_mpp: float | None = None,
    resolutions: Mapping[str, float] | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
) -> ConvertReport:
    """Write bags in another layout; a slide that fails is reported and does not stop the others.

    Args:
        sources: Feature files, and folders of them.
        to: ``trident``, ``clam`` or ``stamp``.
        out: The folder to write.
        reporter: Receives the progress and warnings.
        slide_mpp: Level-0 resolution of every slide, µm per pixel; takes precedence over
            ``resolutions``.
        resolutions: Level-0 resolutions by slide_id; they take precedence over the files'.
        dtype: Type to store features in, ``float32`` or ``float16``; None takes the layout's, which
            for ``trident`` keeps float16.
        overwrite: Write slides again that have been written before.

    Returns:
        The slides written, skipped, empty and failed.

    Raises:
        DiskFullError: There is no space left.
        MissingDataError: A source does not exist, or a folder holds no feature file.
        UnknownNameError: There is no layout ``to``.
        UsageError: Two sources are of one slide, a job folder holds several sets of features, or
            the layout does not keep features in that type.
    """
    layout, reporter = _layout(to, dtype), reporter or Silent()
    refs = find_bags(sources)
    by_slide(refs, "give one of them, or convert them into different folders")
    for folder in out.glob("*/"):  # every layout keeps its files one folder down
        atomic.discard_leftovers(folder)
    report = ConvertReport()
    with reporter.task(f"converting to {to}", len(refs), "slides") as task:
        for ref in refs:
            mpp = slide_mpp or (resolutions or {}).get(ref.slide_id)
            try:
                _convert_one(ref, layout, out, mpp, dtype, report, overwrite=overwrite)
            except DiskFullError:
                raise
            except TcssaError as error:
                report.failed.append(NotConverted(ref.address, _reason(error), error.hint))
            task.advance()
    for fact, slides in report.unknown.items():
        more = f" and {len(slides) - 3} more" if len(slides) > 3 else ""
        reporter.warn(
            f"{fact} not known of {counted(len(slides), 'slide')}: {', '.join(slides[:3])}{more}"
        )
    return report


def _layout(to: str, dtype: str | None) -> Layout:
    """Return the layout of a name, which must keep features in the type asked for.

    Raises:
        UnknownNameError: There is no such layout.
        UsageError: It does not keep features in that type.
    """
    if to not in LAYOUTS:
        raise UnknownNameError("layout", to, LAYOUTS)
    layout = LAYOUTS[to]
    if dtype not in (None, *layout.dtypes):
        raise UsageError(
            f"the layout {to!r} keeps features in {' or '.join(layout.dtypes)}, not in {dtype}",
            hint="leave --dtype out",
        )
    return layout


def _convert_one(
    ref: BagRef,
    layout: Layout,
    out: Path,
    mpp: float | None,
    dtype: str | None,
    report: ConvertReport,
    *,
    overwrite: bool,
) -> None:
    with open_bag(ref) as bag:
        targets = layout.files(out, bag.slide_id, bag.encoder)
        if targets[-1].exists() and not overwrite:
            report.num_skipped += 1
            return
        if not bag.num_patches:
            report.empty.append(bag.slide_id)
            return
        if any(target.exists() and target.samefile(ref.file) for target in targets):
            raise FeatureFileError(bag.path, "would be replaced by what is made of it")
        known = describe(bag, mpp, needs_mpp=layout.needs_mpp)
        layout.write(bag, known, out, dtype)
        report.num_converted += 1
        report.num_patches += bag.num_patches
        for fact in known.unknown():
            report.unknown.setdefault(fact, []).append(bag.slide_id)


def _reason(error: TcssaError) -> str:
    return error.reason if isinstance(error, FileError) else str(error)
