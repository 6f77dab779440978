"""Slides of a slow disk, copied to a fast one ahead of their turn and removed once they are read.

The copies of all processes of this machine that share a folder have a bound together. A slide that
is not copied is read where it is, and why is told: a copy saves time and decides nothing.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tcssa.errors import UsageError
from tcssa.files.host_locks import locked
from tcssa.files.process_folder import ProcessFolder

COPIED = "copied"

_KIND = "tcssa-stage"
_CHUNK_BYTES = 1 << 22
_WAIT_S = 1.0
"""How long to wait before looking again whether another process has made room."""
_SINGLE_FILES = frozenset(
    (".svs", ".tif", ".tiff", ".ndpi", ".scn", ".svslide", ".bif", ".czi",
     ".png", ".jpg", ".jpeg", ".bmp")
)  # fmt: skip
"""Suffixes of slides that are one file. Others are not copied: where the rest of them lies only
their reader knows."""
_BESIDE = ".mrxs"
"""Suffix of a file whose data lie in a folder of its name."""


class Stage:
    """Copies of slides in a folder, each there as long as somebody reads it.

    Args:
        folder: Folder of the copies; made if need be.
        max_bytes: Bytes that the copies may take together.
        warn: Told of each slide that is read where it is, and why.

    Raises:
        UsageError: The folder cannot be made or written.
    """

    def __init__(self, folder: Path, max_bytes: int, warn: Callable[[str], None]) -> None:
        self.folder, self.max_bytes, self._warn = folder, max_bytes, warn
        self.counts: Counter[str] = Counter()
        """Slides that were copied, and those read where they are, by the reason."""
        self._num_made = 0
        self._stopped = False
        self._held: set[Path] = set()
        self._changed = threading.Condition()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._mine = ProcessFolder(folder, _KIND)
        except OSError as error:
            raise UsageError(
                f"{folder}: cannot be the --stage ({error.strerror})", hint="name another folder"
            ) from None

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *exception: object) -> None:
        self._mine.close()

    def stop(self) -> None:
        """Stop copying, and waiting for room: nobody reads slides any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @contextmanager
    def copy_of(self, slide: Path) -> Iterator[Path]:
        """Yield a copy of a slide, or the slide itself where it cannot be copied.

        While there is no room, this waits until a copy of an earlier slide of this process is
        removed. So copies are made one after another, in the order in which they are read.
        """
        entry: Path | None = None
        try:
            members = _members(slide)
            entry = self._reserve(sum(size for _, size in members))
            for path, size in members:
                self._copy(path, entry / path.relative_to(slide.parent), size)
        except (OSError, _NotCopiedError) as why:
            told = isinstance(why, _NotCopiedError)
            self._warn(f"{slide}: read where it is: {why if told else f'its copy failed ({why})'}")
            self.counts[str(why) if told else "its copy failed"] += 1
            self._remove(entry)
            entry = None
        else:
            self.counts[COPIED] += 1
        try:
            yield slide if entry is None else entry / slide.name
        finally:
            self._remove(entry)

    def _reserve(self, size: int) -> Path:
        """Make the folder of a copy, whose name says how many bytes it will take."""
        if size > self.max_bytes:
            raise _NotCopiedError("it is larger than the --stage")
        while True:
            with locked(self.folder / _KIND, exclusive=True):
                room = min(self.max_bytes - self._taken(), shutil.disk_usage(self.folder).free)
                if size <= room:
                    self._num_made += 1
                    entry = self._mine.path / f"{self._num_made}-{size}"
                    entry.mkdir()
                    self._held.add(entry)
                    return entry
            with self._changed:
                self._require_readers()
                if not self._held:  # others have all of it: they may be long
                    raise _NotCopiedError("the --stage is full")
                self._changed.wait(_WAIT_S)

    def _copy(self, source: Path, target: Path, size: int) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as reader, target.open("wb") as writer:
            while chunk := reader.read(_CHUNK_BYTES):
                self._require_readers()
                writer.write(chunk)
        if (found := target.stat().st_size) != size:
            raise OSError(f"{found} of {size} bytes arrived")

    def _require_readers(self) -> None:
        if self._stopped:
            raise _StoppedError

    def _taken(self) -> int:
        """Return the bytes that the copies of all processes take, or are going to."""
        return sum(
            int(entry.name.rpartition("-")[2])
            for entry in self.folder.glob(f"{_KIND}-*/*-*")
            if entry.name.replace("-", "").isdigit()
        )

    def _remove(self, entry: Path | None) -> None:
        if entry is not None:
            shutil.rmtree(entry, ignore_errors=True)
            with self._changed:
                self._held.discard(entry)
                self._changed.notify_all()


class _NotCopiedError(Exception):
    """A slide is not copied; the message says why."""


class _StoppedError(Exception):
    """Nobody reads slides any more."""


def _members(slide: Path) -> list[tuple[Path, int]]:
    """List the files of a slide and their sizes in bytes."""
    suffix = slide.suffix.lower()
    if slide.is_dir():
        paths = _files_in(slide)
    elif suffix == _BESIDE:
        paths = [slide, *_files_in(slide.with_suffix(""))]
    elif suffix in _SINGLE_FILES:
        paths = [slide]
    else:
        raise _NotCopiedError(f"slides that end in {suffix} may have other files")
    return [(path, path.stat().st_size) for path in paths]


def _files_in(folder: Path) -> list[Path]:
    return [Path(here) / name for here, _, names in os.walk(folder) for name in names]
