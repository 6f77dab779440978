"""Files that all tests of a session share, whichever of xdist's workers runs them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

try:
    import fcntl
except ImportError:  # on Windows each worker makes its own
    fcntl = None  # type: ignore[assignment]


def session_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder of all workers of this session."""
    own = factory.getbasetemp()
    return own.parent if fcntl and "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first test that asks for it makes; not to be written to.

    Args:
        factory: pytest's.
        name: The folder's.
        make: Fills the folder, which exists.
    """
    folder = session_folder(factory) / "made-once" / name
    folder.parent.mkdir(exist_ok=True)
    whole = folder.with_name(f"{name}.whole")
    with folder.with_name(f"{name}.lock").open("w") as lock:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)  # another worker may have failed at it
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder
