"""Jobs for crews of tests; in a module of its own, since workers import it."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tcssa.crew.member import Job
from tcssa.errors import FileError
from tcssa.jobs.watch import SlideEvent
from tcssa.reporter import Reporter


@dataclass(frozen=True)
class Numbered:
    """An item of a list."""

    slide_id: str


@dataclass(frozen=True)
class Write(Job[Numbered, str]):
    """Appends a line to the item's file; some items kill, or raise."""

    folder: Path
    kills: tuple[str, ...] = ()
    """Items on which a worker dies, every time."""
    kills_once: tuple[str, ...] = ()
    raises: str = ""
    together: Path | None = None
    """A folder where workers wait for a second one before they begin."""

    def work(
        self,
        items: Iterator[Numbered],
        done: Callable[[str, str], None],
        reporter: Reporter,
    ) -> int:
        number = 0
        reporter.warn("the same of every worker")
        if self.together is not None:
            (self.together / str(os.getpid())).touch()
            while len(list(self.together.iterdir())) < 2:
                time.sleep(0.01)
        for item in items:
            name = item.slide_id
            if name == self.raises:
                raise FileError(self.folder / name, "is broken", hint="mend it")
            first = not (self.folder / name).exists()
            with (self.folder / name).open("a") as stream:
                stream.write(f"{os.getpid()}\n")
            if name in self.kills or (name in self.kills_once and first):
                time.sleep(0.05)
                os.kill(os.getpid(), signal.SIGKILL)
            done(name, "done")
            number += 1
        return number

    def lost(self, item: Numbered, reason: str) -> str:
        return f"lost {item.slide_id}: {reason}"

    def event(self, slide_id: str, row: str) -> SlideEvent:
        return SlideEvent(slide_id, row.split()[0], num_patches=1)


class DiesAtOnce(Write):
    """Dies before it asks for anything."""

    def work(self, *_: object) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0
