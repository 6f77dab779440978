"""Names of files that stand in other files: they lead nowhere but into the folder they lie in."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated

from pydantic import AfterValidator

_MOST_BYTES = 255
"""Of one name, on all usual file systems."""


def file_name(name: str) -> str:
    """Return a name that is plain: no folder, no drive, nothing that a system reads otherwise.

    Raises:
        ValueError: It is another one.
    """
    plain = name == PurePosixPath(name).name == PureWindowsPath(name).name and name != ".."
    if not (plain and name.isprintable() and 0 < len(name.encode()) <= _MOST_BYTES):
        raise ValueError(f"{name[:60]!r} is no plain name of a file")
    return name


def inner_path(path: str) -> str:
    """Return a path that stays below the folder it starts from, with ``/`` between plain names.

    Raises:
        ValueError: It is another one.
    """
    for name in path.split("/"):
        file_name(name)
    return path


FileName = Annotated[str, AfterValidator(file_name)]
InnerPath = Annotated[str, AfterValidator(inner_path)]
