"""A child process that reads one input after another, under limits on memory and time.

Before each input its number is noted in memory that the parent shares, and its bytes in a file: an
input that ends the process is known by these.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import mmap
import os
import resource
import signal
import struct
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fuzz.digest import digest
from fuzz.target import Outcome, Target

HEADROOM_BYTES, MOST_BYTES = 5 * 2**30, 2**30
"""Of addresses that one input may take, so that nothing ends the machine; and of memory. A library
that is refused addresses says so as an error like any other, so memory itself is looked at."""
CPU_S, WALL_S = 5.0, 20.0
"""Of one input. A machine shared with others may take long over little, hence two limits; one that
waits for a pipe takes no CPU time at all."""
_SLOT = struct.Struct("<Q")


class Progress:
    """The number of the input that a child reads, in memory that its parent sees."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _SLOT.size)

    def note(self, number: int) -> None:
        """Note that this input is read now."""
        _SLOT.pack_into(self._shared, 0, number)

    def number(self) -> int:
        """Return the number noted last."""
        return int(_SLOT.unpack_from(self._shared)[0])


class Tally:
    """Counts of a child's outcomes; the first input of each finding is left in a file.

    Args:
        folder: Gets ``finding-*`` and ``tally-*``.
        number: Of the child's first input; its tally is named after it.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        self._kinds: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()

    def add(self, outcome: Outcome, content: bytes, number: int) -> None:
        """Count an outcome."""
        self._kinds[outcome.kind] += 1
        self._keys[outcome.key] += 1
        if outcome.kind == "fault" and self._keys[outcome.key] == 1:
            leave_finding(self._folder, number, outcome, content)

    def write(self) -> None:
        """Write the counts."""
        content = {"kinds": self._kinds, "keys": self._keys}
        (self._folder / f"tally-{self._number}.json").write_text(json.dumps(content))


def leave_finding(folder: Path, number: int, outcome: Outcome, content: bytes) -> None:
    """Leave a finding for the parent; its input is written first."""
    (folder / f"finding-{number}.input").write_bytes(content)
    line = json.dumps({"key": outcome.key, "detail": outcome.detail})
    (folder / f"finding-{number}.json").write_text(line)


def run_inputs(
    target: Target, folder: Path, seed: int, first: int, end: int, progress: Progress
) -> None:
    """Read inputs ``first`` to ``end`` of a target, in a child of its own.

    Args:
        target: The reader.
        folder: Where inputs lie, on a disk in memory, and the tally is left.
        seed: The seed of all inputs.
        first: The first input.
        end: The one behind the last.
        progress: Shared with the parent.
    """
    quiet(folder)
    tally = Tally(folder, first)
    known = known_data(target, folder)
    with limited():
        for number in range(first, end):
            content = target.input_of(seed, number)
            (folder / "current").write_bytes(content)
            progress.note(number)
            outcome = weighed(target, target.place(folder, content), known)
            tally.add(outcome, content, number)
            if number % 500 == 0:
                tally.write()
                gc.collect()
    tally.write()


def known_data(target: Target, folder: Path) -> frozenset[str]:
    """Return digests of the data in a target's undamaged seeds."""
    return frozenset(digest(target.read(target.place(folder, seed))) for seed in target.seeds)


def quiet(folder: Path) -> IO[str]:
    """Silence libraries that print and warn, and note the stack of a crash in ``crash.txt``."""
    warnings.simplefilter("ignore")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    crash = (folder / "crash.txt").open("w")
    faulthandler.enable(crash, all_threads=False)
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
        faulthandler.register(number, crash, all_threads=False, chain=True)
    return crash


@contextmanager
def limited() -> Iterator[None]:
    """Limit the addresses of this process to some more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + HEADROOM_BYTES
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def timed(cpu_s: float = CPU_S, wall_s: float = WALL_S) -> Iterator[None]:
    """Let the system end this process where the block takes too long; nothing else stops C code."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, wall_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def weighed(target: Target, path: Path, known: frozenset[str]) -> Outcome:
    """Read one input within its time, and look at the most memory that it took."""
    Path("/proc/self/clear_refs").write_text("5")  # what it took at most begins anew
    before = _most_taken()
    with timed():
        outcome = target.judge(path, known)
    taken = _most_taken() - before
    if taken < MOST_BYTES:
        return outcome
    detail = f"takes {taken / 2**30:.1f} GB of memory, and ends as {outcome.detail}"
    return Outcome("fault", f"MemoryError of {outcome.key}", detail)


def _most_taken() -> int:
    """Return the largest size of this process in memory, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def judge_alone(target: Target, folder: Path, content: bytes, known: frozenset[str]) -> Outcome:
    """Read one input in a child, which it may end; the outcome tells how."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(receiving)
            quiet(folder)
            with limited():
                outcome = weighed(target, target.place(folder, content), known)
            line = json.dumps([outcome.kind, outcome.key, outcome.detail])
            os.write(sending, line.encode()[:60_000])
            code = 0
        finally:
            os._exit(code)
    os.close(sending)
    with os.fdopen(receiving, "rb") as stream:
        said = stream.read()
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and said:
        return Outcome(*json.loads(said))
    return ended(folder, status)


def ended(folder: Path, status: int) -> Outcome:
    """Say how an input ended its process, and where in our code that was."""
    place = crash_place(folder)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name
        if number in (signal.SIGPROF, signal.SIGALRM):
            return Outcome("fault", f"hang {place}", f"takes over {CPU_S:g} s ({place})")
        return Outcome("fault", f"{name} {place}", f"ends the process by {name} ({place})")
    return Outcome("fault", f"exit {place}", f"ends the process ({place})")


def crash_place(folder: Path) -> str:
    """Name the innermost line of the package in the stack that a crash left."""
    try:
        lines = (folder / "crash.txt").read_text().splitlines()
    except OSError:
        return "outside"
    for line in lines:
        file, _, rest = line.strip().removeprefix('File "').partition('"')
        if any(f"/{package}/" in file for package in ("tcssa", "tcssa_runtimes", "fuzz/oracles")):
            return f"{Path(file).parent.name}/{Path(file).name}:{rest.rpartition(' ')[2]}"
    return "outside"
