"""The dispatcher's side of a crew: it hands out items and outlives its workers.

Items are handed out one by one, as workers ask for them, so a slow worker gets fewer. What a dead
worker held goes to the others. An item whose worker died goes back to the list; after a second
death a worker gets it alone; after a third it is lost, and named.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol

from tcssa.crew.member import Asks, Done, Ends, Fails, Item, Job, Message, Row, Says
from tcssa.crew.shares import Share
from tcssa.errors import ProcessesError, counted
from tcssa.jobs.watch import Watch
from tcssa.reporter import Reporter, Task

_WAIT_S = 1.0
_MOST_DEATHS = 3
_LONGEST_REST_S = 60.0


class GoneError(Exception):
    """A worker is dead; the message says how it ended."""


class Worker(Protocol):
    """A worker, as its dispatcher sees it."""

    name: str
    """Where it runs, as ``GPU 0``."""

    def receive(self) -> Sequence[Message]:
        """Return what it has sent.

        Raises:
            GoneError: It is dead, and all it sent was received.
        """

    def give(self, items: Sequence[Any]) -> None:
        """Send the items that it asked for; none say that there are no more."""

    def stop(self) -> None:
        """End it, whatever it does."""


class Crew(Protocol):
    """Workers that can be started."""

    num_workers: int
    device: Literal["cpu", "cuda"]
    """Device that each computes on."""
    cores: int
    """Cores that each has."""
    most_false_starts: int
    """Workers that may die in a row before they begin, where nobody else works."""

    def start(self, place: int, job: Job[Any, Any]) -> Worker:
        """Start a worker.

        Args:
            place: Its place, from 0 to ``num_workers`` - 1; one that died is free again.
            job: The job that it does.
        """

    def wait(self, workers: Sequence[Worker], seconds: float) -> Sequence[Worker]:
        """Wait until workers have sent something or are dead; return these.

        Args:
            workers: All that run.
            seconds: How long to wait at most.
        """


@dataclass
class _Place(Generic[Item]):
    """A worker at work."""

    number: int
    worker: Worker
    share: Share
    held: dict[str, Item] = field(default_factory=dict)
    """Items it was given and is not done with."""
    alone: Item | None = None
    """The only item that it is to get."""
    has_begun: bool = False
    """It has asked for items: its model is loaded."""


class Dispatcher(Generic[Item, Row]):
    """Does a job on all items with the workers of a crew.

    Args:
        job: The job.
        items: The items.
        crew: The workers.
        on_row: Called with the result of each item.
        reporter: Told of deaths, and of what workers say.
        task: Advances by one for each item.
        watch: Told of each result, and of the ends of workers.
        deaths: Deaths of workers by the item that they held, of calls before; they are added to.
    """

    def __init__(
        self,
        job: Job[Item, Row],
        items: Sequence[Item],
        crew: Crew,
        on_row: Callable[[Row], None],
        reporter: Reporter,
        task: Task,
        watch: Watch | None = None,
        deaths: Counter[str] | None = None,
    ) -> None:
        self._job, self._crew = job, crew
        self._watch = watch or Watch()
        self._on_row, self._reporter, self._task = on_row, reporter, task
        self._list = deque(items)
        self._num_left = len(items)
        self._suspects: deque[Item] = deque()
        self._deaths = Counter() if deaths is None else deaths
        self._said: set[str] = set()
        self._barren: Counter[int] = Counter()
        """Workers in a row that died at a place before they asked for anything."""
        self._start_at: dict[int, float] = {}
        """When such a place is tried again."""
        self._places: dict[int, _Place[Item]] = {}

    def run(self) -> list[Share]:
        """Work until every item has a result; return the share of each worker.

        Raises:
            TcssaError: A worker ended with an error that is not the fault of one item.
            ProcessesError: Workers die before they begin.
        """
        shares: list[Share] = []
        try:
            while self._num_left or any(place.has_begun for place in self._places.values()):
                self._start_workers(shares)
                self._hear_all()
        finally:
            for place in self._places.values():
                place.worker.stop()
        return shares

    def _hear_all(self) -> None:
        """Wait until workers have something to tell, and hear it."""
        if not self._places:
            time.sleep(_WAIT_S)  # all that is left waits for its time
            return
        numbers = {id(place.worker): number for number, place in self._places.items()}
        running = [place.worker for place in self._places.values()]
        for worker in self._crew.wait(running, _WAIT_S):
            self._hear(numbers[id(worker)])

    def _start_workers(self, shares: list[Share]) -> None:
        """Fill places that are free, as far as there are items for them."""
        now = time.monotonic()
        free = [
            number
            for number in range(self._crew.num_workers)
            if number not in self._places and self._start_at.get(number, now) <= now
        ]
        num_wanted = len(self._suspects) + len(self._list)
        for number in free[:num_wanted]:
            worker = self._crew.start(number, self._job)
            share = Share(worker.name)
            shares.append(share)
            alone = self._suspects.popleft() if self._suspects else None
            self._places[number] = _Place(number, worker, share, alone=alone)

    def _hear(self, number: int) -> None:
        place = self._places[number]
        try:
            messages = place.worker.receive()
        except GoneError as death:
            place.worker.stop()  # it may live, out of reach
            del self._places[number]
            place.share.died = True
            self._bury(place, str(death))
            return
        for message in messages:
            match message:
                case Asks(wanted):
                    self._give(place, wanted)
                case Done(slide_id, row, host):
                    self._record(place, slide_id, row, host)
                case Says(kind, text):
                    self._say(place, kind, text)
                case Ends(report):
                    place.share.report = report
                    self._watch.worker_ended(place.worker.name, place.share.num_slides)
                    place.worker.stop()
                    del self._places[number]
                    for item in place.held.values():
                        self._lose(item, "its worker ended without a result of it")
                case Fails(error):
                    raise error

    def _give(self, place: _Place[Item], wanted: int) -> None:
        self._barren[place.number], place.has_begun = 0, True
        if place.alone is not None:
            items = [] if place.held or place.share.num_slides else [place.alone]
        else:
            items = [self._list.popleft() for _ in range(min(wanted, len(self._list)))]
        place.held |= {item.slide_id: item for item in items}
        place.worker.give(items)

    def _record(self, place: _Place[Item], slide_id: str, row: Row, host: str) -> None:
        del place.held[slide_id]
        place.share.num_slides += 1
        self._end(slide_id, row, place.worker.name, host)

    def _say(self, place: _Place[Item], kind: str, text: str) -> None:
        if kind == "describe":
            self._task.describe(f"{place.worker.name}: {text}")
        elif text not in self._said:  # every worker says the same of its encoder
            self._said.add(text)
            (self._reporter.warn if kind == "warn" else self._reporter.note)(text)

    def _bury(self, place: _Place[Item], how: str) -> None:
        """Give back what a dead worker held."""
        name, held = place.worker.name, list(place.held.values())
        self._watch.worker_ended(name, place.share.num_slides, how)
        if not held and place.share.num_slides == 0:
            if place.alone is not None:
                self._suspects.appendleft(place.alone)
            self._wait_before_another(place, how)
        handed = f"; it held {counted(len(held), 'slide')}, for the others now" if held else ""
        self._reporter.warn(f"{name} ended ({how}){handed}")
        for item in reversed(held):
            self._deaths[item.slide_id] += 1
            deaths = self._deaths[item.slide_id]
            if deaths >= _MOST_DEATHS:
                self._lose(item, f"its worker ended {deaths} times ({how})")
            elif deaths == _MOST_DEATHS - 1:
                self._suspects.append(item)
            else:
                self._list.appendleft(item)

    def _wait_before_another(self, place: _Place[Item], how: str) -> None:
        """Let a place rest where a worker died before it began, as on a node that is being lost.

        Raises:
            ProcessesError: Nobody else works, and it was not the first time.
        """
        self._barren[place.number] += 1
        times = self._barren[place.number]
        if times >= self._crew.most_false_starts and not any(
            each.has_begun for each in self._places.values()
        ):
            raise ProcessesError(
                f"{place.worker.name} ended before it began ({how}), {times} times in a row",
                hint="run with one process to see why; it may be memory",
            )
        self._start_at[place.number] = time.monotonic() + min(2.0**times, _LONGEST_REST_S)

    def _lose(self, item: Item, reason: str) -> None:
        self._end(item.slide_id, self._job.lost(item, reason))

    def _end(
        self, slide_id: str, row: Row, worker: str | None = None, host: str | None = None
    ) -> None:
        self._on_row(row)
        self._watch.slide(self._job.event(slide_id, row), worker, host)
        self._num_left -= 1
        self._task.advance()
