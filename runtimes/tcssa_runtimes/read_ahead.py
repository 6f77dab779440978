"""Reading the next slides while this one computes.

One thread reads bags chunk by chunk into a queue of bounded length, so what is read ahead does not
depend on how many patches a slide has, nor on how many slides there are.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError
from tcssa.features import Bag, open_bag
from tcssa_runtimes.slide_features import Positions

CHUNK_PATCHES = 4096
_QUEUED_CHUNKS = 8
_POLL_S = 0.1


@dataclass(frozen=True)
class SlideHeader:
    """What is known of a slide before its features are read."""

    path: Path
    stat: os.stat_result
    num_patches: int
    feature_dim: int
    encoder: str | None
    coords: NDArray[np.float64] | None
    """Positions of the patches, [N, 2]."""
    positions: Positions | None
    """What these are; None where there are none."""


class _End:
    """Comes after a slide's last chunk."""


_Message = SlideHeader | NDArray[Any] | BaseException | _End


class ReadAhead:
    """Reads bags in order, ahead of whoever asks for them; use it as a context manager.

    For every path call `header`, then `chunks`, then `finish`; after an error only `finish`.

    Args:
        paths: The feature files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.read_s = 0.0
        """Seconds the thread spent reading."""
        self.wait_s = 0.0
        """Seconds the caller spent waiting for it."""
        self._paths = paths
        self._queue: queue.Queue[_Message] = queue.Queue(_QUEUED_CHUNKS)
        self._stop = threading.Event()
        self._slide = -1
        self._ended = True
        self._unwanted = -1  # slides up to this one need not be read on
        self._thread = threading.Thread(target=self._read_all, name="tcssa-read", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def header(self) -> SlideHeader:
        """What is known of the next slide.

        Raises:
            FeatureFileError: Its file cannot be read.
        """
        self._slide += 1
        self._ended = False
        message = self._take()
        assert isinstance(message, SlideHeader)
        return message

    def chunks(self) -> Iterator[NDArray[Any]]:
        """The features of that slide, some patches at a time.

        Raises:
            FeatureFileError: They cannot be read to the end.
        """
        while not isinstance(message := self._take(), _End):
            assert isinstance(message, np.ndarray)
            yield message
        self._ended = True

    def finish(self) -> None:
        """Pass over what is left of the slide, which need not be read."""
        self._unwanted = self._slide
        while not self._ended:
            self._ended = isinstance(self._next(), _End)

    def _take(self) -> _Message:
        message = self._next()
        if isinstance(message, BaseException):
            raise message
        return message

    def _next(self) -> _Message:
        begin = time.perf_counter()
        message = self._queue.get()
        self.wait_s += time.perf_counter() - begin
        return message

    def _read_all(self) -> None:
        for slide, path in enumerate(self._paths):
            try:
                self._read(slide, path)
            except BaseException as error:  # whatever it is, the caller's thread must see it
                self._put(error)
            self._put(_End())

    def _read(self, slide: int, path: Path) -> None:
        for message in self._timed(_messages(path)):
            if self._stop.is_set() or slide <= self._unwanted:
                return
            self._put(message)

    def _timed(self, messages: Iterator[_Message]) -> Iterator[_Message]:
        while True:
            begin = time.perf_counter()
            message = next(messages, None)
            self.read_s += time.perf_counter() - begin
            if message is None:
                return
            yield message

    def _put(self, message: _Message) -> None:
        """Queue a message, unless the caller has left."""
        while not self._stop.is_set():
            try:
                self._queue.put(message, timeout=_POLL_S)
                break
            except queue.Full:
                pass


def _messages(path: Path) -> Iterator[_Message]:
    """A slide's header, then its chunks."""
    try:
        # before reading: a file that changes meanwhile is renewed by the next call
        stat = path.stat()
        with open_bag(path) as bag:
            yield _header(bag, stat)
            for begin in range(0, bag.num_patches, CHUNK_PATCHES):
                yield bag.read(begin, begin + CHUNK_PATCHES)
    except OSError as error:
        raise FeatureFileError(path, f"cannot be read ({error.strerror or error})") from None


def _header(bag: Bag, stat: os.stat_result) -> SlideHeader:
    coords, positions = bag.read_coords(), None
    if coords is not None:
        coords = coords.astype(np.float64)
        size = bag.patch_size_level0
        if bag.coords_unit == "um":
            size = bag.attributes.get("tile_size_um")
        if size is not None:
            coords += float(size) / 2
        positions = Positions(bag.coords_unit, "corner" if size is None else "centre")
    return SlideHeader(
        path=bag.path,
        stat=stat,
        num_patches=bag.num_patches,
        feature_dim=bag.feature_dim,
        encoder=bag.encoder,
        coords=coords,
        positions=positions,
    )
