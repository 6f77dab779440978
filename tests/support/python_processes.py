"""Python processes that find what the tests find, alone and several together."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence


def start_together(arguments: Sequence[str], count: int = 2) -> list[subprocess.Popen[str]]:
    """Start Python processes that find each other, as a launcher does it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [start_python(arguments, {**shared, "RANK": str(rank)}) for rank in range(count)]


def start_python(
    arguments: Sequence[str], variables: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a Python process that finds what the tests find; stderr goes to stdout."""
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(processes: Sequence[subprocess.Popen[str]]) -> str:
    """Wait for them; one that failed says why. What the first of them printed."""
    said = [process.communicate(timeout=240)[0] for process in processes]
    for process, text in zip(processes, said, strict=True):
        assert process.returncode == 0, text[-3000:]
    return said[0]
