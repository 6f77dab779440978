"""Folders that are either complete or do not exist."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tcssa.artefact import is_artefact
from tcssa.errors import UsageError


def staged_artefact(out: Path, *, overwrite: bool) -> AbstractContextManager[Path]:
    """Yield a temporary folder that becomes an artefact; see `staged_folder`.

    Args:
        out: The artefact's folder.
        overwrite: Replace an artefact at ``out``.

    Raises:
        UsageError: ``out`` is in use; see `require_free`.
    """
    return staged_folder(out, "artefact", is_artefact, overwrite=overwrite)


@contextmanager
def staged_folder(
    out: Path,
    kind: str,
    is_ours: Callable[[Path], bool],
    *,
    overwrite: bool,
    staged_in: Path | None = None,
) -> Iterator[Path]:
    """Yield a temporary folder; when the block ends without an error it becomes ``out``.

    Args:
        out: The folder to create.
        kind: Name of this kind of folder, for errors.
        is_ours: Tells whether a folder is of that kind; anything else is never replaced.
        overwrite: Replace a folder of that kind at ``out``.
        staged_in: Parent of the temporary folder, on the same disk; by default that of ``out``.

    Yields:
        The folder to fill. It is removed when the block raises.

    Raises:
        UsageError: ``out`` is in use; see `require_free`.
    """
    require_free(out, kind, is_ours, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = (staged_in or out.parent) / f".{out.name}.{os.getpid()}.tcssa-export"
    shutil.rmtree(staging, ignore_errors=True)  # a killed process had this number before us
    staging.mkdir()
    try:
        yield staging
        _move_into_place(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def require_free(out: Path, kind: str, is_ours: Callable[[Path], bool], *, overwrite: bool) -> None:
    """Raise unless `staged_folder` may write ``out``.

    Args:
        out: The folder to create.
        kind: Name of this kind of folder, for errors.
        is_ours: Tells whether a folder is of that kind.
        overwrite: Whether a folder of that kind may be replaced.

    Raises:
        UsageError: ``out`` holds something else, or is of that kind and ``overwrite`` is False.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not is_ours(out):
        raise UsageError(
            f"{out} exists and is no {kind}; it is left as it is", hint="choose another folder"
        )
    if not overwrite:
        article = "an" if kind[0] in "aeiou" else "a"
        raise UsageError(f"{out} holds {article} {kind} already", hint="replace it: --overwrite")


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
