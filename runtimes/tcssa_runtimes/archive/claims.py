"""Claims of slides by the processes that encode one archive: each takes what no other has.

A claim is a lock in the archive's folder with the slide's name. It is held from before the slide is
opened until its slots are there to be read, for Parquet until its part is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Self

from tcssa.features import BagRef
from tcssa.files.locks import Owner
from tcssa.files.work_locks import locks_in
from tcssa_runtimes.archive.done_slides import DoneSince
from tcssa_runtimes.archive.how_to_encode import HowToEncode
from tcssa_runtimes.archive.stored_slots import EncodedFacts
from tcssa_runtimes.contract.base import Runtime

_AT_ONCE = 8
"""Slides that are claimed together, so that the folder is looked at once for all of them."""


class Claims:
    """The claims of this process; use it as a context manager.

    Args:
        how: How slides are encoded, and where.
        runtime: The model.
    """

    def __init__(self, how: HowToEncode, runtime: Runtime) -> None:
        self._locks, self._since = locks_in(how.out), DoneSince(how, runtime)

    def __enter__(self) -> Self:
        self._locks.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._locks.__exit__(*exception)

    def of(
        self,
        bags: Iterable[BagRef],
        on_taken: Callable[[BagRef, Owner], None],
        on_done: Callable[[BagRef, EncodedFacts], None],
    ) -> Iterator[BagRef]:
        """Yield the bags that this process is to encode; each is to be given back.

        Args:
            bags: The feature files.
            on_taken: Called with each that another process has.
            on_done: Called with each that another process has done since the list was made.
        """
        to_come = iter(bags)
        while some := list(islice(to_come, _AT_ONCE)):
            claimed = []
            owners = self._locks.take_all([bag.slide_id for bag in some])
            for bag, owner in zip(some, owners, strict=True):
                if owner is None:
                    claimed.append(bag)
                else:
                    on_taken(bag, owner)
            done = self._since.among(claimed)
            for bag in claimed:
                if bag in done:
                    self.give_back(bag)
                    on_done(bag, done[bag])
                else:
                    yield bag

    def give_back(self, bag: BagRef) -> None:
        """Give a claim back: the slide is done, or has failed."""
        self._locks.release(bag.slide_id)
