"""A launch of chunks: begun, and waited for by its handle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tcssa_runtimes.contract.slide_sums import ChunkSums


class Launch(Protocol):
    """Handle of a launch that was begun.

    Handles are waited for in the order of their launches, each before as many more have begun as
    `ModelRunner.launches_at_once` says.
    """

    def result(self) -> list[ChunkSums]:
        """Wait for the launch, and return the sums of each chunk; to be called once.

        For a chunk with a bad row they name that row instead (`ChunkSums.bad_row`).
        """


@dataclass(frozen=True)
class Computed:
    """Handle of a launch that was computed as it was begun."""

    sums: list[ChunkSums]

    def result(self) -> list[ChunkSums]:
        """Return the sums of each chunk."""
        return self.sums
