"""Verification of an archive of Parquet parts."""

from __future__ import annotations

from pathlib import Path

from tcssa.errors import FeatureFileError
from tcssa.files.boundary import UnsoundError, reading
from tcssa.reporter import Reporter
from tcssa.slides.extraction.verify import FAULTY_FOLDER, Fault, VerifyReport
from tcssa_runtimes.archive.slot_parts import find_parts, read_part


def verify_parts(out: Path, reporter: Reporter, *, repair: bool = False) -> VerifyReport:
    """Read every slide of an archive's parts: all finite, no mass below 0, none there twice.

    Args:
        out: The archive's folder.
        reporter: Receives the progress.
        repair: Move faulty parts to ``OUT/faulty``, so that `encode` makes their slides again.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    parts = find_parts(out)
    report = VerifyReport(out)
    seen: dict[str, Path] = {}
    with reporter.task("verifying", len(parts), "parts") as task:
        for path in parts:
            try:
                _check(path, seen, report)
            except FeatureFileError as fault:
                relative = path.relative_to(out)
                report.faults.append(Fault(relative, fault.reason))
                if repair:
                    (out / FAULTY_FOLDER / relative).parent.mkdir(parents=True, exist_ok=True)
                    path.replace(out / FAULTY_FOLDER / relative)
                    report.num_requeued += 1
            task.advance()
    report.leftovers = sorted(out.glob("**/.*.tcssa-tmp"))
    return report


def _check(path: Path, seen: dict[str, Path], report: VerifyReport) -> None:
    for slots in read_part(path):
        report.num_slots += 1
        other = seen.setdefault(slots.facts.name, path)
        with reading(path, FeatureFileError):
            if other != path:
                raise UnsoundError(f"holds {slots.facts.name}, which {other.name} holds too")
            if len(slots.mass) != len(slots.slots):
                raise UnsoundError(f"the mass of {slots.facts.name} makes no sense")
