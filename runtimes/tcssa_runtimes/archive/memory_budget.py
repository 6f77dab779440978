"""A bound on the memory that patch features take."""

from __future__ import annotations

import threading


class CancelledError(Exception):
    """The work that memory was requested for was cancelled."""


class Budget:
    """A number of bytes that several threads take from and give back to.

    Args:
        num_bytes: The most that may be taken at once, by all threads together.
    """

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self._left = num_bytes
        self._cancelled = False
        self._changed = threading.Condition()

    def take(self, num_bytes: int) -> None:
        """Take bytes of the budget, and wait until that many are left.

        Args:
            num_bytes: At most the whole budget; more would never be left.

        Raises:
            CancelledError: The budget was cancelled.
        """
        assert num_bytes <= self.num_bytes
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled or self._left >= num_bytes)
            if self._cancelled:
                raise CancelledError
            self._left -= num_bytes

    def give_back(self, num_bytes: int) -> None:
        """Give back bytes that were taken."""
        with self._changed:
            self._left += num_bytes
            self._changed.notify_all()

    def taken(self) -> int:
        """Return the bytes that are taken at this moment."""
        return self.num_bytes - self._left

    def cancel(self) -> None:
        """Let every `take` that waits, and every later one, raise `CancelledError`."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
