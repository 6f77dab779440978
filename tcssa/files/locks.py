"""Locks on work in a folder that processes share, on one machine or on many.

A lock is a small file, there with its content or not at all, that names its owner; while the owner
lives a thread renews its time stamp. A lock whose owner is dead, or has not renewed it for two
minutes, is taken over. Correctness never rests on a lock: files are renamed into place whole, so
the worst that two owners can do is the same work twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tcssa.errors import FileError
from tcssa.files import atomic
from tcssa.files.listing import each_named
from tcssa.files.text import read_json

HEARTBEAT_S = 15.0
STALE_S = 120.0
"""Eight heartbeats missed: longer than a network file system keeps a time stamp from others."""

LOCK = ".tcssa-lock"
"""What the name of a lock's file ends with."""
_MOST_BYTES = 4096


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock."""

    host: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True)
class Held:
    """A lock that is there, as anybody who sees the folder can read it."""

    name: str
    owner: Owner
    since: float | None
    """When it was taken, in seconds since 1970 by the owner's clock; None if it does not say."""
    silent_s: float
    """Seconds since its owner gave a sign of life."""

    @property
    def is_live(self) -> bool:
        """Tell whether the owner lives, as far as can be seen from here."""
        is_here = self.owner.host == socket.gethostname()
        return self.silent_s < STALE_S and (not is_here or atomic.alive(self.owner.pid))


def held_locks(folder: Path) -> list[Held]:
    """Read the locks in a folder, sorted by name; nothing is written."""
    locks = []
    for path in sorted(each_named(folder, ".", LOCK)):
        with suppress(FileNotFoundError):  # given back meanwhile
            silent_s = max(0.0, time.time() - path.stat().st_mtime)
            content = _read(path)
            if content:  # a lock, and not just made
                since = content.get("since")
                name = path.name[1:].removesuffix(LOCK)
                when = float(since) if isinstance(since, int | float) else None
                locks.append(Held(name, owner_in(content), when, silent_s))
    return locks


def live_locks(folder: Path, names: Iterable[str]) -> set[str]:
    """Return the locks that a process which lives has, as `FolderLocks.take` sees it.

    Args:
        folder: The folder of the locks.
        names: The locks to look at.
    """
    there = [(name, path) for name in names if (path := _lock(folder, name)).exists()]
    now = _clock(folder) if there else 0.0
    return {name for name, path in there if _live_owner(path, now) is not None}


class FolderLocks:
    """The locks that this process takes in a folder; use it as a context manager.

    Args:
        folder: The folder of the lock files; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._me = Owner(socket.gethostname(), os.getpid())
        self._token = uuid.uuid4().hex
        self._held: set[str] = set()
        self._changing = threading.Lock()
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in each_named(self.folder, ".", LOCK):
            seen = _read(path)
            if path.exists() and _live_owner(path, _clock(self.folder)) is None:
                _put_aside(path, seen)
        self._heart.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._heart.join()
        for name in sorted(self._held):
            self.release(name)

    def take(self, name: str) -> Owner | None:
        """Take a lock that is free or whose owner is dead.

        Returns:
            None if the lock is ours now, else the process that holds it.
        """
        path = _lock(self.folder, name)
        for _ in range(2):
            if self._make(path):
                with self._changing:
                    self._held.add(name)
                return None
            seen = _read(path)
            owner = _live_owner(path, _clock(self.folder))
            if owner is not None:
                return owner
            _put_aside(path, seen)
        return _live_owner(path, _clock(self.folder)) or self._me  # another process was quicker

    def take_all(self, names: Sequence[str]) -> list[Owner | None]:
        """Take locks; return what `take` returns of each."""
        return [self.take(name) for name in names]

    def release(self, name: str) -> None:
        """Give a lock back."""
        with self._changing:
            self._held.discard(name)
        path = _lock(self.folder, name)
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY)  # Path.read_bytes takes three times as long
            try:
                is_ours = self._token.encode() in os.read(descriptor, _MOST_BYTES)
            finally:
                os.close(descriptor)
            if is_ours:  # not if it was taken over
                path.unlink()

    def _make(self, path: Path) -> bool:
        """Make a lock with its content at once: a kill between the two would leave an empty one."""
        me = self._me
        said = {"host": me.host, "pid": me.pid, "token": self._token, "since": time.time()}
        content = json.dumps(said).encode()
        own = atomic.temporary_name(path.with_name(uuid.uuid4().hex))
        try:
            _create(own, content)  # a full disk is said here, before the lock is there
            try:
                os.link(own, path)
            except FileExistsError:
                return False
            except OSError:  # a file system without links
                return _create(path, content)
            return True
        finally:
            own.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            with self._changing:
                held = list(self._held)
            for name in held:
                with suppress(OSError):  # a server that is away for a moment must not end a run
                    os.utime(_lock(self.folder, name))


def _create(path: Path, content: bytes) -> bool:
    """Create a file; return False if it exists. In three calls: a claim must cost little."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
    return True


def lock_file(name: str) -> str:
    """Return the name of a lock's file; that of a long one is a hash."""
    file = f".{name}{LOCK}"
    if len(os.fsencode(file)) > atomic.MOST_NAME_BYTES:
        file = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}{LOCK}"
    return file


def _lock(folder: Path, name: str) -> Path:
    return folder / lock_file(name)


def _live_owner(path: Path, now: float) -> Owner | None:
    """Return the owner of a lock, None if there is none that lives.

    Args:
        path: The lock.
        now: The time by its folder's clock.
    """
    try:
        age_s = now - path.stat().st_mtime
    except FileNotFoundError:
        return None
    content = _read(path)
    if not content:  # just made, not yet written; or its writer died between the two
        return Owner("unknown", 0) if age_s < STALE_S else None
    owner = owner_in(content)
    if owner.host == socket.gethostname() and not atomic.alive(owner.pid):
        return None
    return owner if age_s < STALE_S else None


def _clock(folder: Path) -> float:
    """Return the time by the clock that stamps a folder's files; a server's may differ."""
    probe = _lock(folder, f"clock-{uuid.uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def owner_in(content: dict[str, object]) -> Owner:
    """Return the owner that a lock's content names."""
    stated = content.get("pid")
    pid = stated if isinstance(stated, int) and 0 < stated < 2**31 else 0
    return Owner(str(content.get("host")), pid)


def _put_aside(path: Path, dead: dict[str, object]) -> None:
    """Remove a dead owner's lock; one that another process made meanwhile is put back."""
    aside = path.with_name(f".{uuid.uuid4().hex}{LOCK}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if _read(aside) != dead:
            with suppress(OSError):  # it exists, or this disk has no links: see the module's text
                os.link(aside, path)
        aside.unlink()


def _read(path: Path) -> dict[str, object]:
    """Read a lock's content; it is empty where the lock is gone, not yet written, or damaged."""
    try:
        content: dict[str, object] = read_json(path, FileError, top=dict)
    except FileError:
        return {}
    return content
