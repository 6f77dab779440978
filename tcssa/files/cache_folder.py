"""The folder of what can be made or fetched again: ``TCSSA_CACHE``, else the platform's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tcssa.files.host_locks import locked


def cache_folder() -> Path:
    """Return the folder of cached files: ``TCSSA_CACHE``, else the platform's cache folder."""
    if given := os.environ.get("TCSSA_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "tcssa" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tcssa"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tcssa"


@contextmanager
def one_process(name: str, does: str, say: Callable[[str], None]) -> Iterator[None]:
    """Let one process of this machine make or fetch something, while others wait and find it then.

    Where the cache folder cannot be written nobody waits.

    Args:
        name: Name of what is made or fetched.
        does: What the process does, as ``fetches owner/name``.
        say: Told which process is waited for.
    """
    entry = cache_folder() / "locks" / name.replace("/", "--")
    with ExitStack() as held:
        with suppress(OSError):
            lock = locked(
                entry, exclusive=True, on_wait=lambda who: say(f"waiting for {who}, which {does}")
            )
            held.enter_context(lock)
        yield
