"""The worker's side of a crew: it asks for items, works on them, and tells of each result.

A job is what all workers of a crew do. It is sent to them, so it holds settings and paths, and
opens models and files only where it works.
"""

from __future__ import annotations

import socket
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from tcssa.errors import ProcessesError, TcssaError, one_line
from tcssa.jobs.watch import SlideEvent
from tcssa.reporter import Reporter, Task


class HasSlideId(Protocol):
    """Anything that stands for a slide."""

    @property
    def slide_id(self) -> str:
        """The slide's name, which no other item of the list has."""


Item = TypeVar("Item", bound=HasSlideId)
Row = TypeVar("Row")


class Job(ABC, Generic[Item, Row]):
    """The work of a crew."""

    asks_for: ClassVar[int] = 1
    """Items that a worker takes at a time: one, unless they are done in milliseconds."""

    @abstractmethod
    def work(
        self, items: Iterator[Item], done: Callable[[str, Row], None], reporter: Reporter
    ) -> Any:
        """Work on items until there are no more.

        Args:
            items: The items; the next one is asked for when it is taken.
            done: Called with the slide's name and result of each item.
            reporter: Receives remarks.

        Returns:
            Figures of this worker's work.

        Raises:
            TcssaError: Something is wrong that is not the fault of one item.
        """

    @abstractmethod
    def lost(self, item: Item, reason: str) -> Row:
        """Return the result of an item on which workers have died.

        Args:
            item: The item.
            reason: How they died.
        """

    @abstractmethod
    def event(self, slide_id: str, row: Row) -> SlideEvent:
        """Return what is told of a result to those who watch the job.

        Args:
            slide_id: The slide's name.
            row: The result.
        """


@dataclass(frozen=True)
class Asks:
    """The worker wants so many items."""

    number: int


@dataclass(frozen=True)
class Done:
    """An item is done; its result."""

    slide_id: str
    row: Any
    host: str = field(default_factory=socket.gethostname)
    """The worker's machine."""


@dataclass(frozen=True)
class Says:
    """A remark for the person in front of the terminal."""

    kind: Literal["note", "warn", "describe"]
    text: str


@dataclass(frozen=True)
class Ends:
    """The worker has no more items; figures of its work."""

    report: Any


@dataclass(frozen=True)
class Fails:
    """The worker ends with an error that is not the fault of one item."""

    error: TcssaError


Message = Asks | Done | Says | Ends | Fails


class Channel(Protocol):
    """The worker's end of a connection with the dispatcher."""

    def send(self, message: Message) -> None:
        """Send a message; do nothing if the dispatcher is gone."""

    def receive(self) -> Sequence[Any]:
        """Wait for the items that were asked for; return none if the dispatcher is gone."""


def serve(job: Job[Any, Any], channel: Channel) -> None:
    """Do a job on all items that a dispatcher hands out.

    Args:
        job: The job.
        channel: The connection.
    """
    try:
        report = job.work(
            _items(channel, job.asks_for),
            lambda slide_id, row: channel.send(Done(slide_id, row)),
            _Forwarded(channel),
        )
    except TcssaError as error:
        channel.send(Fails(error))
    except Exception as error:  # a fault of ours: told here, it reaches whoever gave the command
        fault = ProcessesError(f"a worker failed: {type(error).__name__}: {one_line(error)}")
        fault.add_note(traceback.format_exc())
        channel.send(Fails(fault))
    else:
        channel.send(Ends(report))


def _items(channel: Channel, number: int) -> Iterator[Any]:
    while True:
        channel.send(Asks(number))
        items = channel.receive()
        if not items:
            return
        yield from items


class _Forwarded:
    """A reporter whose remarks the dispatcher prints; it counts the slides itself."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        """See `tcssa.reporter.Reporter.task`."""
        yield _ForwardedTask(self._channel)

    def note(self, text: str) -> None:
        """See `tcssa.reporter.Reporter.note`."""
        self._channel.send(Says("note", text))

    def warn(self, text: str) -> None:
        """See `tcssa.reporter.Reporter.warn`."""
        self._channel.send(Says("warn", text))


class _ForwardedTask:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def advance(self, amount: int = 1) -> None:
        pass  # the dispatcher counts results

    def skip(self, amount: int) -> None:
        pass

    def describe(self, text: str) -> None:
        self._channel.send(Says("describe", text))
