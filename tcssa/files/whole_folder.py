"""Folders that appear whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tcssa.errors import RunError


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside ``out`` to fill, which becomes ``out`` when the block ends well.

    What a killed process left of it is removed.

    Raises:
        RunError: ``out`` holds something.
    """
    out = out.absolute()  # of "." no name could be made
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(out, "holds something already", hint="give another folder with --out")
    filled = out.with_name(f".{out.name}.tcssa-part")
    shutil.rmtree(filled, ignore_errors=True)
    filled.mkdir(parents=True)
    try:
        yield filled
        if out.exists():
            out.rmdir()  # it is empty; not every system renames over it
        filled.rename(out)
    finally:
        shutil.rmtree(filled, ignore_errors=True)
