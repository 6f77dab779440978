"""A few threads that work in the background."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Self

_QUEUED = 64


class Background:
    """Threads that do queued work; use it as a context manager, which waits for it on leaving.

    Work is begun in the order in which it is given. After an error nothing more is begun, and the
    error is raised by the next `do`, or on leaving.

    Args:
        threads: Number of threads.
    """

    def __init__(self, threads: int) -> None:
        self.busy_s = 0.0
        """Seconds that the threads worked, summed over them."""
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(_QUEUED)
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, name=f"tcssa-write-{i}", daemon=True)
            for i in range(threads)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        if kind is None:
            self._raise()

    def do(self, work: Callable[[], None]) -> None:
        """Queue a piece of work; block while the queue is full."""
        self._raise()
        self._queue.put(work)

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            if self._error is not None:
                continue
            begin = time.perf_counter()
            try:
                work()
            except BaseException as error:  # whatever it is, the caller must see it
                self._error = error
            with self._lock:
                self.busy_s += time.perf_counter() - begin

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
