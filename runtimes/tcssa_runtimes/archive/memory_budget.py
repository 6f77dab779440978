"""A bound on the memory that patch features take."""

from __future__ import annotations

import threading


class CancelledError(Exception):
    """The work that memory was wanted for is not wanted any more."""


class Budget:
    """So many bytes, taken and given back by several threads.

    Args:
        num_bytes: What may be taken at most.
    """

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self._left = num_bytes
        self._cancelled = False
        self._changed = threading.Condition()

    def take(self, num_bytes: int) -> None:
        """Take some of it; waits until there is as much.

        Args:
            num_bytes: At most the whole budget, or it would wait for ever.

        Raises:
            CancelledError: Nobody will give back any more.
        """
        assert num_bytes <= self.num_bytes
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled or self._left >= num_bytes)
            if self._cancelled:
                raise CancelledError
            self._left -= num_bytes

    def give_back(self, num_bytes: int) -> None:
        """Give back what was taken."""
        with self._changed:
            self._left += num_bytes
            self._changed.notify_all()

    def taken(self) -> int:
        """How much is taken at this moment."""
        return self.num_bytes - self._left

    def cancel(self) -> None:
        """Let nobody take or wait any more."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
