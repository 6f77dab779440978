"""Names of files that stand in other files: they lead nowhere but into the folder they lie in."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated

from pydantic import AfterValidator

_MOST_BYTES = 255
"""Longest name on all usual file systems."""


def file_name(name: str) -> str:
    """Require a plain name: no folder, no drive, nothing that a system reads otherwise.

    Returns:
        The name as it is.

    Raises:
        ValueError: The name is not plain, is empty or too long, or holds characters that are not
            printable.
    """
    plain = name == PurePosixPath(name).name == PureWindowsPath(name).name and name != ".."
    if not (plain and name.isprintable() and 0 < len(name.encode()) <= _MOST_BYTES):
        raise ValueError(f"{name[:60]!r} is no plain name of a file")
    return name


def inner_path(path: str) -> str:
    """Require a path that stays below the folder it starts from, with ``/`` between plain names.

    Returns:
        The path as it is.

    Raises:
        ValueError: A part of the path is no plain name; see `file_name`.
    """
    for name in path.split("/"):
        file_name(name)
    return path


FileName = Annotated[str, AfterValidator(file_name)]
InnerPath = Annotated[str, AfterValidator(inner_path)]
