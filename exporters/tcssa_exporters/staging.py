"""A folder that is either whole or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tcssa.artefact import is_artefact
from tcssa.errors import UsageError


def staged_artefact(out: Path, *, overwrite: bool) -> AbstractContextManager[Path]:
    """`staged_folder` of an artefact."""
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
    """Yield a temporary folder; when the block ends well it becomes ``out``.

    Args:
        out: The folder to make.
        kind: What it is called in errors.
        is_ours: Whether a folder is one of that kind. Anything else is never replaced.
        overwrite: Replace one that stands there.
        staged_in: Where the temporary folder lies, on the same disk; by default beside ``out``.

    Yields:
        The folder to fill. It is removed when the block raises.

    Raises:
        UsageError: Something stands at ``out`` already.
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

    Raises:
        UsageError: Something stands there already.
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
