"""Trial opening of slides in a separate process, since OpenSlide can end the one it runs in.

Where memory runs out, its libraries abort the process, and all other slides of a job with it. The
sizes in a TIFF are checked before (`tcssa.files.tiff`); other formats state theirs in places of
their own. One worker serves a process. Its start takes 0.1 s, and a slide a few milliseconds more
than opening it once: MIRAX and others that are opened twice find their files in the system's cache.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path

from tcssa.errors import SlideError
from tcssa.files.limits import TILE_SIDE
from tcssa.slides.readers import openslide_worker

_CPU_S = 3
"""Computing time per slide; opening one takes a fraction of a second."""
_WAIT_S = 60
"""Wait for an answer: network disks are slow, and waiting for them is not computing time."""
_WORKER = Path(openslide_worker.__file__)
_LEAST_MEMORY, _BYTES_A_PIXEL = 2 * 2**30, 8
"""Four bytes per pixel of the largest tile, and as much again for what else the decoder holds."""


def require_survived(path: Path) -> None:
    """Require, once per process, that a worker survives opening a slide and reading each level.

    Raises:
        SlideError: The worker died on the slide, or did not answer.
    """
    status = path.stat()
    reason = _tried(path.absolute(), status.st_mtime_ns, status.st_size)
    if reason is not None:
        raise SlideError(path, reason, hint="the file is damaged: copy it again, or leave it out")


@lru_cache(maxsize=10_000)
def _tried(path: Path, mtime_ns: int, size: int) -> str | None:
    """Return why a slide must not be opened in this process, None if it may be."""
    global _worker
    with _lock:
        if _worker is None or not _worker.is_usable():
            _worker = _Worker()
        return _worker.ask(path)


class _Worker:
    """Process in which slides are tried."""

    def __init__(self) -> None:
        side = TILE_SIDE.value()
        limits = (_LEAST_MEMORY + _BYTES_A_PIXEL * side**2, _CPU_S, side)
        self._pid = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER), *map(str, limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        atexit.register(self.close_at_exit)

    def is_usable(self) -> bool:
        """Tell whether it runs, and belongs to this process: a fork would share its pipes."""
        return self._pid == os.getpid() and self._process.poll() is None

    def close_at_exit(self) -> None:
        """End the process when its owner exits, but not when a fork of its owner does."""
        if self.is_usable():
            self.close()

    def ask(self, path: Path) -> str | None:
        """Try a slide; return how the worker ended, None if it survived."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(_WAIT_S, process.kill)
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(str(path)).encode() + b"\n")
                process.stdin.flush()
            if process.stdout.readline():
                return None
            code = process.wait()
        finally:
            timer.cancel()
        self.close()
        if sys.platform != "win32" and code == -signal.SIGXCPU:
            return f"its decoder computes for more than {_CPU_S} s"
        if sys.platform != "win32" and code == -signal.SIGKILL:
            return f"its decoder gives no answer for {_WAIT_S} s, or takes all memory"
        return f"its decoder ended the process that it ran in (exit {code})"

    def close(self) -> None:
        """End the process, if it has not ended by itself."""
        atexit.unregister(self.close_at_exit)
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()


_worker: _Worker | None = None
_lock = threading.Lock()
