"""The parent: it runs targets in children, starts new ones behind inputs that end them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.minimise import minimised
from fuzz.target import Outcome, Target
from fuzz.worker import Progress, ended, judge_alone, known_data, leave_finding, run_inputs

_BATCH = 20_000
"""Inputs of one child: what libraries leave behind does not add up for longer."""
_MAX_ENDED = 200
"""Children that inputs may end before a target is given up."""


@dataclass
class Finding:
    """An input that shows a fault, and how it shows."""

    key: str
    detail: str
    content: bytes


@dataclass
class Result:
    """The sum of one target.

    Attributes:
        target: The reader.
        engine: ``structure`` or ``coverage``.
        num_inputs: Read until now.
        seconds: Since its first.
        kinds: Outcomes by kind.
        keys: Outcomes by cause.
        findings: One for each cause.
        covered: Branches that were reached, where the engine counts them.
    """

    target: Target
    engine: str = "structure"
    num_inputs: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    covered: int | None = None

    def add_finding(self, outcome: Outcome, content: bytes) -> None:
        """Keep an input that shows a new fault, or shows a known one by fewer bytes."""
        known = self.findings.get(outcome.key)
        if known is None or len(content) < len(known.content):
            self.findings[outcome.key] = Finding(outcome.key, outcome.detail, content)

    def take(self, folder: Path) -> None:
        """Take in what a child left in its folder."""
        for tally in folder.glob("tally-*.json"):
            content = json.loads(tally.read_text())
            self.kinds.update(content["kinds"])
            self.keys.update(content["keys"])
            tally.unlink()
        for path in folder.glob("finding-*.json"):
            line = json.loads(path.read_text())
            found = path.with_suffix(".input")
            self.add_finding(Outcome("fault", line["key"], line["detail"]), found.read_bytes())
            path.unlink()
            found.unlink()


def forked(work: Callable[[], None], folder: Path) -> int:
    """Start a child that does some work; return its process id.

    An exception in it is left in the folder's ``error.txt``.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        (folder / "error.txt").write_text(traceback.format_exc())
    finally:
        os._exit(code)


class TargetRun:
    """All inputs of one target, in one child after another; then its findings are made smaller.

    Args:
        target: The reader.
        folder: On a disk in memory; the target's own.
        seed: The seed of all inputs.
        num_inputs: How many are wanted.
        minimise_s: Seconds to make each finding smaller.
    """

    def __init__(
        self, target: Target, folder: Path, seed: int, num_inputs: int, minimise_s: float
    ) -> None:
        self.folder = folder
        self.result = Result(target)
        self._seed, self._wanted, self._minimise_s = seed, num_inputs, minimise_s
        self._progress = Progress()
        self._next = self._end = self._num_ended = 0
        self._begin = time.monotonic()
        self._is_minimising = False

    def start(self) -> int:
        """Start a child with the next work; return its process id."""
        if self._is_minimising:
            return forked(lambda: make_smaller(self.result, self.folder, self._minimise_s),
                          self.folder)  # fmt: skip
        self._end = min(self._next + _BATCH, self._wanted)
        self._progress.note(self._next)
        return forked(
            lambda: run_inputs(
                self.result.target, self.folder, self._seed, self._next, self._end, self._progress
            ),
            self.folder,
        )

    def finish(self, status: int) -> bool:
        """Take in what a child left; return whether another one is to be started.

        Raises:
            RuntimeError: The child failed by a fault of the harness.
        """
        error = self.folder / "error.txt"
        if error.exists():
            raise RuntimeError(f"{self.result.target.name}: {error.read_text()}")
        result = self.result
        result.take(self.folder)
        if self._is_minimising:
            return False
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            self._next = self._end
        else:
            outcome = ended(self.folder, status)
            result.kinds["fault"] += 1
            result.keys[outcome.key] += 1
            result.add_finding(outcome, (self.folder / "current").read_bytes())
            self._next = self._progress.number() + 1
            self._num_ended += 1
        result.num_inputs = self._next
        result.seconds = time.monotonic() - self._begin
        if self._next < self._wanted and self._num_ended < _MAX_ENDED:
            return True
        self._is_minimising = True
        return bool(result.findings) and self._minimise_s > 0


def run_targets(
    targets: Sequence[Target],
    *,
    num_inputs: int,
    seed: int,
    jobs: int,
    minimise_s: float,
    done: Callable[[Result], None],
) -> list[Result]:
    """Run the structure-aware engine on targets, several at a time.

    Args:
        targets: The readers.
        num_inputs: Of each.
        seed: The seed of all inputs.
        jobs: Children at a time.
        minimise_s: Seconds to make each finding smaller.
        done: Called with the result of each target as it ends.
    """
    root = Path(tempfile.mkdtemp(prefix="tcssa-fuzz-", dir=memory_disk()))
    waiting, running, results = list(targets), dict[int, TargetRun](), list[Result]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                target = waiting.pop(0)
                (root / target.name).mkdir()
                run = TargetRun(target, root / target.name, seed, num_inputs, minimise_s)
                running[run.start()] = run
            child, status = os.wait()
            run = running.pop(child)
            if run.finish(status):
                running[run.start()] = run
            else:
                shutil.rmtree(run.folder)
                results.append(run.result)
                done(run.result)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return results


def make_smaller(result: Result, folder: Path, budget_s: float) -> None:
    """Cut the inputs of findings down to what still shows the same fault, and leave them."""
    target = result.target
    known = known_data(target, folder)
    for number, finding in enumerate(list(result.findings.values())):

        def shows(content: bytes, key: str = finding.key) -> bool:
            return judge_alone(target, folder, content, known).key == key

        smaller = minimised(finding.content, shows, budget_s)
        leave_finding(folder, number, Outcome("fault", finding.key, finding.detail), smaller)


def memory_disk() -> Path | None:
    """Return a disk in memory if the system has one."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() else None
