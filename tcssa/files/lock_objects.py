"""Locks on work whose folder stands in an object store, for processes of any host.

A lock is an object that is put only where there is none, and names its owner. Beside its locks a
process keeps one object of its own, its sign of life, and puts it anew every fifteen seconds. A
lock whose owner gave none for two minutes by the store's clock, or is dead on this host, is taken
over: by putting another in the place of exactly this one. As for locks of folders
(`tcssa.files.locks`) correctness never rests on one.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self

from tcssa.errors import UploadError
from tcssa.files import atomic
from tcssa.files.conditional_objects import ConditionalObjects, Content
from tcssa.files.locks import HEARTBEAT_S, LOCK, STALE_S, Held, Owner, lock_file, owner_in

_LIFE = ".tcssa-alive"
_AT_ONCE = 8


class LockObjects:
    """The locks that this process takes for a folder; use it as a context manager.

    Args:
        objects: The objects of the bucket.
        folder: The key that stands for the folder.

    Raises:
        UploadError: The store cannot be asked, also in all that follows.
    """

    def __init__(self, objects: ConditionalObjects, folder: str) -> None:
        self._objects, self._folder = objects, folder
        self._me = Owner(socket.gethostname(), os.getpid())
        self._token = uuid.uuid4().hex
        self._tags: dict[str, str] = {}
        """Tags of the locks that we hold, by their keys."""
        self._changing = threading.Lock()
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._objects.put(_life(self._folder, self._token), self._said())
        self._remove_of_the_dead()
        self._heart.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._heart.join()
        with suppress(UploadError):  # the store is away: they grow old
            for key in sorted(self._tags):
                self._release(key)
            self._objects.remove(_life(self._folder, self._token))

    def take(self, name: str) -> Owner | None:
        """Take a lock that is free or whose owner is dead; see `tcssa.files.locks.FolderLocks`."""
        key = lock_key(self._folder, name)
        for _ in range(3):
            tag = self._tag_of(key)
            if isinstance(tag, Owner):
                return tag
            if tag is not None:
                with self._changing:
                    self._tags[key] = tag
                return None
        return self._me  # others are quicker

    def take_all(self, names: Sequence[str]) -> list[Owner | None]:
        """Take locks, at once: each is a request; return what `take` returns of each."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self.take, names))

    def release(self, name: str) -> None:
        """Give a lock back; where the store cannot be asked, at the end."""
        with suppress(UploadError):
            self._release(lock_key(self._folder, name))

    def _tag_of(self, key: str) -> str | Owner | None:
        """Put a lock; return its tag, who has it, or None where it changed meanwhile."""
        data = self._said()
        tag = self._objects.put_new(key, data)
        if tag is not None:
            return tag
        there = self._objects.read(key)
        if there is None:
            return None
        content = _read(there)
        if content.get("token") == self._token:  # the reply to our own request was lost
            return there.tag
        life_s = self._objects.age_s(_life(self._folder, str(content.get("token"))))
        return _live_owner(content, life_s) or self._objects.put_over(key, data, there.tag)

    def _said(self) -> bytes:
        me = self._me
        said = {"host": me.host, "pid": me.pid, "token": self._token, "since": time.time()}
        return json.dumps(said).encode()

    def _release(self, key: str) -> None:
        with self._changing:
            tag = self._tags.pop(key, None)
        if tag is not None:  # and not if it was taken over: it has another tag then
            try:
                self._objects.remove(key, tag)
            except UploadError:
                with self._changing:
                    self._tags.setdefault(key, tag)
                raise

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            with suppress(UploadError):  # a store that is away for a moment must not end a run
                self._objects.put(_life(self._folder, self._token), self._said())

    def _remove_of_the_dead(self) -> None:
        ages = self._objects.ages_s(f"{self._folder}/.")
        locks = [key for key in ages if key.endswith(LOCK)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for key, there in zip(locks, pool.map(self._objects.read, locks), strict=True):
                if there is not None and _owner_by(ages, self._folder, _read(there)) is None:
                    self._remove_if_dead(key, there)
        for key, age_s in ages.items():
            if key.endswith(_LIFE) and age_s >= STALE_S:
                self._remove_if_stale(key)

    def _remove_if_dead(self, key: str, there: Content) -> None:
        """Remove a lock, and its owner's sign of life, unless it came after our listing."""
        life = _life(self._folder, str(_read(there).get("token")))
        if _live_owner(_read(there), self._objects.age_s(life)) is None:
            self._objects.remove(key, there.tag)
            self._objects.remove(life)

    def _remove_if_stale(self, life: str) -> None:
        there, age_s = self._objects.read(life), self._objects.age_s(life)
        if there is not None and age_s is not None and age_s >= STALE_S:
            self._objects.remove(life, there.tag)


def lock_key(folder: str, name: str) -> str:
    """Return the key of a lock.

    Args:
        folder: The key that stands for its folder.
        name: The lock.
    """
    return f"{folder}/{lock_file(name)}"


def is_lock(key: str) -> bool:
    """Tell whether an object is a lock or a sign of life."""
    return key.endswith((LOCK, _LIFE))


def held_objects(objects: ConditionalObjects, folder: str) -> list[Held]:
    """Read the locks for a folder, sorted by name.

    Args:
        objects: The objects of the bucket.
        folder: The key that stands for the folder.
    """
    held, ages = [], objects.ages_s(f"{folder}/.")
    for key in sorted(key for key in ages if key.endswith(LOCK)):
        there = objects.read(key)
        if there is not None:  # not given back meanwhile
            content = _read(there)
            since = content.get("since")
            life_s = ages.get(_life(folder, str(content.get("token"))), STALE_S)
            held.append(
                Held(
                    Path(key).name[1:].removesuffix(LOCK),
                    owner_in(content),
                    float(since) if isinstance(since, int | float) else None,
                    max(0.0, life_s),
                )
            )
    return held


def live_objects(objects: ConditionalObjects, folder: str, names: Iterable[str]) -> set[str]:
    """Return the locks that a process which lives has.

    Args:
        objects: The objects of the bucket.
        folder: The key that stands for the folder.
        names: The locks to look at.
    """
    ages = objects.ages_s(f"{folder}/.")
    there = {name: objects.read(key) for name in names if (key := lock_key(folder, name)) in ages}
    return {name for name, each in there.items() if each and _owner_by(ages, folder, _read(each))}


def _life(folder: str, token: str) -> str:
    return f"{folder}/.{token}{_LIFE}"


def _owner_by(ages: Mapping[str, float], folder: str, content: dict[str, object]) -> Owner | None:
    return _live_owner(content, ages.get(_life(folder, str(content.get("token")))))


def _live_owner(content: dict[str, object], life_s: float | None) -> Owner | None:
    """Return the owner of a lock if it lives.

    Args:
        content: What the lock says.
        life_s: Age of its owner's sign of life; None if there is none.
    """
    owner = owner_in(content)
    if life_s is None or life_s >= STALE_S:
        return None
    is_dead_here = owner.host == socket.gethostname() and not atomic.alive(owner.pid)
    return None if is_dead_here else owner


def _read(there: Content) -> dict[str, object]:
    try:
        content = json.loads(there.data)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
