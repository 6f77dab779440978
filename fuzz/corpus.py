"""The corpus in ``tests/corpus``: inputs that once were trouble, each with its expected outcome.

``python -m fuzz.corpus`` writes the hostile files that are made in `fuzz.hostile`, and judges all
files that lie there; ``python -m fuzz.corpus FOLDER`` first takes in the findings of a run. A file
that still shows a fault is taken out: it comes back once the reader is mended.
Outcomes stand in ``outcomes.json``: the type of the error, or the digest of the data. With
``--replay`` it only reads the files that once ended the process, and prints their outcomes.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzz.supervisor import memory_disk
from fuzz.target import Outcome, Target
from fuzz.targets import TARGETS
from fuzz.worker import judge_alone, known_data

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "corpus"
OUTCOMES = "outcomes.json"
_MOST_BYTES = 2**20


@dataclass(frozen=True)
class Entry:
    """A file of the corpus.

    Attributes:
        target: Its reader.
        path: Where it lies.
        outcome: The type of the error that it must end in, or ``read`` and the data's digest.
    """

    target: Target
    path: Path
    outcome: str

    @property
    def name(self) -> str:
        """The path within the corpus."""
        return self.path.relative_to(FOLDER).as_posix()


def entries(alone: bool) -> Iterator[Entry]:
    """Read the part of the corpus that once ended the process, or the other one."""
    for name, (outcome, is_alone) in json.loads((FOLDER / OUTCOMES).read_text()).items():
        path = FOLDER / name
        if is_alone is alone:
            yield Entry(TARGETS[path.parent.name], path, outcome)


def main() -> int:
    """Write and judge the corpus; return 1 if a file shows a fault of a reader."""
    if sys.argv[1:] == ["--replay"]:
        print(json.dumps({each.name: judged(each.target, each.path)[1] for each in entries(True)}))
        return 0
    from fuzz.hostile.cases import CASES

    for findings in map(Path, sys.argv[1:]):
        _take_in(findings)
    wanted = {}
    for case in CASES:
        target = TARGETS[case.target]
        path = FOLDER / target.name / f"{case.name}{_suffix(target)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(case.content)
        wanted[path] = case
    outcomes, faults = {}, []
    for path in sorted(path for path in FOLDER.glob("*/*") if path.is_file()):
        target, made = TARGETS[path.parent.name], wanted.get(path)
        kind, outcome = judged(target, path)
        if kind == "fault" or (made is not None and (kind == "refused") != made.is_refused):
            faults.append(f"{path.relative_to(FOLDER)}: {kind}, {outcome}")
            path.unlink()
            continue
        alone = path.stem.startswith("ended-") if made is None else made.ended_process
        outcomes[path.relative_to(FOLDER).as_posix()] = [outcome, alone]
    (FOLDER / OUTCOMES).write_text(json.dumps(outcomes, indent=0, sort_keys=True) + "\n")
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    print("\n".join(faults))
    print(f"{len(outcomes)} files, {size:,} bytes; {len(faults)} are not as they must be")
    return 1 if faults or size > _MOST_BYTES else 0


def judged(target: Target, path: Path) -> tuple[str, str]:
    """Read a file in a child; return the kind of its outcome, and the outcome."""
    folder = Path(tempfile.mkdtemp(dir=memory_disk()))
    try:
        outcome = judge_alone(target, folder, path.read_bytes(), known_data(target, folder))
    finally:
        shutil.rmtree(folder)
    return outcome.kind, shown(outcome)


def shown(outcome: Outcome) -> str:
    """Return an outcome as the corpus notes it."""
    return f"read {outcome.detail}" if outcome.kind == "read" else outcome.detail


def _take_in(findings: Path) -> None:
    """Copy the inputs of findings, with a name that says how each showed."""
    for listed in findings.glob("*/findings.jsonl"):
        for line in map(json.loads, listed.read_text().splitlines()):
            found = listed.parent / line["input"]
            is_end = line["key"].startswith(("SIG", "hang", "exit", "MemoryError"))
            place = FOLDER / listed.parent.name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, place / f"{'ended' if is_end else 'found'}-{found.name}")


def _suffix(target: Target) -> str:
    return ".packed" if target.is_folder else target.suffix


if __name__ == "__main__":
    sys.exit(main())
