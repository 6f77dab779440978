"""The folder of what can be made or fetched again: ``TCSSA_CACHE``, else the platform's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
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


def keep_within(files: Iterable[Path], most_bytes: float, spare: Path) -> list[Path]:
    """Remove the files that were used longest ago until the others fit; return the removed.

    Args:
        files: Files that are read whole, whose time of change is that of their last use.
        most_bytes: Size that they may have together.
        spare: The one that was just made, which stays.
    """
    stats = {}
    for path in files:
        with suppress(FileNotFoundError):  # another process removed it
            stats[path] = path.stat()
    by_age = sorted(stats.keys() - {spare}, key=lambda path: stats[path].st_mtime)
    too_much = sum(stat.st_size for stat in stats.values()) - most_bytes
    removed = []
    for path in by_age:
        if too_much <= 0:
            break
        with suppress(OSError):  # a cache that may only be read stays as it is
            path.unlink(missing_ok=True)
            removed.append(path)
            too_much -= stats[path].st_size
    return removed


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
