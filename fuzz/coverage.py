"""Text damaged by atheris, which follows the branches of our parsers that an input reaches.

It runs in a process of its own for each target: modules are instrumented as they are imported, and
libFuzzer ends the process when it is done. Findings do not end it; they are left for the parent as
the other engine leaves them.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fuzz.supervisor import Result, memory_disk
from fuzz.target import Outcome, Target

_MAX_LENGTH = 4096
_TIMEOUT_S = 5
_MAX_ENDED = 20


def run_covered(
    targets: Sequence[Target],
    *,
    num_inputs: int,
    seed: int,
    jobs: int,
    done: Callable[[Result], None],
) -> list[Result]:
    """Run atheris on targets, several at a time; where it is not installed, on none.

    Args:
        targets: Readers with modules to follow.
        num_inputs: Of each.
        seed: The seed of libFuzzer.
        jobs: Processes at a time.
        done: Called with the result of each target as it ends.
    """
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: text is damaged by the structure-aware engine alone")
        return []
    root = Path(tempfile.mkdtemp(prefix="tcssa-fuzz-", dir=memory_disk()))
    waiting, running, results = list(targets), list[_CoveredRun](), list[Result]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_CoveredRun(waiting.pop(0), root, seed, num_inputs))
            time.sleep(0.1)
            for run in [run for run in running if run.is_over()]:
                running.remove(run)
                results.append(run.result)
                done(run.result)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return results


class _CoveredRun:
    """The processes of one target: another one behind an input that ended the last."""

    def __init__(self, target: Target, root: Path, seed: int, num_inputs: int) -> None:
        self.result = Result(target, engine="coverage", covered=0)
        self._folder = root / target.name
        (self._folder / "seeds").mkdir(parents=True)
        (self._folder / "made").mkdir()
        for number, content in enumerate(target.seeds):
            (self._folder / "seeds" / str(number)).write_bytes(content)
        self._seed, self._wanted, self._num_ended = seed, num_inputs, 0
        self._begin = time.monotonic()
        self._start()

    def _start(self) -> None:
        self._log = (self._folder / "log.txt").open("wb")
        left = self._wanted - self.result.num_inputs
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "fuzz.covered_child", self.result.target.name,
                str(self._folder), ",".join(self.result.target.covered),
                str(self._folder / "made"), str(self._folder / "seeds"),
                f"-runs={left}", f"-seed={self._seed + self._num_ended + 1}",
                f"-timeout={_TIMEOUT_S}", f"-max_len={_MAX_LENGTH}", "-rss_limit_mb=0",
                f"-artifact_prefix={self._folder}/ended-",
            ],
            stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def is_over(self) -> bool:
        """Take in what a process left if it has ended, and start another one where inputs are left.

        Raises:
            RuntimeError: It failed by a fault of the harness.
        """
        status = self._process.poll()
        if status is None:
            return False
        self._log.close()
        text = (self._folder / "log.txt").read_text(errors="replace")
        steps = re.findall(r"^#(\d+)\t.*?cov: (\d+)", text, re.MULTILINE)
        if not steps:
            raise RuntimeError(f"{self.result.target.name}: atheris did not start\n{text[-3000:]}")
        result = self.result
        result.take(self._folder)
        result.num_inputs += int(steps[-1][0])
        result.covered = max(result.covered or 0, int(steps[-1][1]))
        result.seconds = time.monotonic() - self._begin
        for path in self._folder.glob("ended-*"):
            kind = path.name.split("-")[1]
            named = signal.Signals(-status).name if status < 0 else kind
            outcome = Outcome("fault", f"{kind} {named}", f"ends the process ({kind}, {named})")
            result.kinds["fault"] += 1
            result.keys[outcome.key] += 1
            result.add_finding(outcome, path.read_bytes())
            path.unlink()
        self._num_ended += 1
        if status == 0 or result.num_inputs >= self._wanted or self._num_ended > _MAX_ENDED:
            return True
        self._start()
        return False
