"""Work done in order by one thread, while others go on."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Self

_QUEUED = 64


class Background:
    """One thread that does what it is given; use it as a context manager, which waits for the rest.

    After an error nothing more is done, and the error is raised by the next `do`, or on leaving.
    """

    def __init__(self) -> None:
        self.busy_s = 0.0
        """Seconds that the thread worked."""
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(_QUEUED)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="tcssa-write", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        self._queue.put(None)
        self._thread.join()
        if kind is None:
            self._raise()

    def do(self, work: Callable[[], None]) -> None:
        """Do this next; waits while too much is waiting already."""
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
            self.busy_s += time.perf_counter() - begin

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
