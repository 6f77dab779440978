"""A folder that is either whole or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tcssa.artefact import is_artefact
from tcssa.errors import UsageError


@contextmanager
def staged_artefact(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder beside ``out``; when the block ends well it becomes ``out``.

    Args:
        out: The artefact's folder.
        overwrite: Replace an artefact that stands there. Anything else is never replaced.

    Yields:
        The folder to fill. It is removed when the block raises.

    Raises:
        UsageError: Something stands at ``out`` already.
    """
    _check_free(out, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.{os.getpid()}.tcssa-export")
    shutil.rmtree(staging, ignore_errors=True)  # a killed process had this number before us
    staging.mkdir()
    try:
        yield staging
        _move_into_place(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_free(out: Path, *, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not is_artefact(out):
        raise UsageError(
            f"{out} exists and is no artefact; it is left as it is", hint="choose another --out"
        )
    if not overwrite:
        raise UsageError(f"{out} holds an artefact already", hint="replace it with --overwrite")


def _move_into_place(staging: Path, out: Path) -> None:
    if out.exists():
        # no portable call swaps two folders: for an instant the name is free
        old = staging.with_name(staging.name + "-old")
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
        try:
            staging.rename(out)
        except OSError:
            old.rename(out)
            raise
        shutil.rmtree(old)
    else:
        staging.rename(out)
