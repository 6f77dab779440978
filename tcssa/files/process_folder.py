"""A folder that lives as long as a process: removed with it, or after it by the next one."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from tcssa.files import atomic
from tcssa.files.host_locks import locked

_IN_USE = "folder"
"""The entry whose lock the owner of a folder holds."""


class ProcessFolder:
    """A folder of this process, until it is closed.

    Folders of processes of this host that were killed are removed when another is made beside them.

    Args:
        parent: Folder that it is made in; it exists.
        kind: Beginning of its name, which host and process ID follow.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, parent: Path, kind: str) -> None:
        mine = f"{kind}-{socket.gethostname()}."
        _discard_of_the_dead(parent, mine)
        self._folder = tempfile.TemporaryDirectory(prefix=f"{mine}{os.getpid()}-", dir=parent)
        self._in_use = ExitStack()
        self._in_use.enter_context(locked(self.path / _IN_USE, exclusive=False))

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self._folder.name)

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        self._in_use.close()  # first: Windows removes no open file
        self._folder.cleanup()


def _discard_of_the_dead(parent: Path, beginning: str) -> None:
    """Remove the folders of processes of this host that were killed.

    Containers may share the folder that holds them all and the host's name without seeing each
    other's processes, so the lock decides. A folder without one was only just made.
    """
    for folder in parent.glob(f"{glob.escape(beginning)}*"):
        pid = folder.name.removeprefix(beginning).partition("-")[0]
        if not pid.isdigit() or atomic.alive(int(pid)):
            continue
        with suppress(OSError):  # another user's, or removed by another process meanwhile
            if (folder / f"{_IN_USE}.lock").exists():
                with locked(folder / _IN_USE, exclusive=True, wait=False) as free:
                    if free:
                        shutil.rmtree(folder, ignore_errors=True)
