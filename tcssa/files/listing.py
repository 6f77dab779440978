"""Listing of folders of very many files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def each_named(folder: Path, beginning: str, ending: str) -> Iterator[Path]:
    """Yield what a folder holds by how names begin and end, in no order; nothing if it is none.

    `Path.glob` holds all entries of the folder at once, whatever they match.

    Args:
        folder: The folder; one that may not be looked into counts as empty.
        beginning: What the names begin with.
        ending: What they end with.
    """
    with (
        suppress(FileNotFoundError, NotADirectoryError, PermissionError),
        os.scandir(folder) as entries,
    ):
        for entry in entries:
            if entry.name.startswith(beginning) and entry.name.endswith(ending):
                yield folder / entry.name
