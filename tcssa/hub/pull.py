"""Pulling a model: its verified files, copied into a folder of the user's."""

from __future__ import annotations

import shutil
from pathlib import Path

from tcssa.errors import UsageError
from tcssa.files import atomic
from tcssa.files.checksums import file_sha256
from tcssa.hub.address import HubAddress
from tcssa.hub.contents import CARD_FILE
from tcssa.hub.fetch import HubCopy, fetch
from tcssa.reporter import Reporter


def pull(address: HubAddress, out: Path, reporter: Reporter) -> HubCopy:
    """Copy a model from the hub into a folder, with its card.

    Args:
        address: The model.
        out: The folder to write. Files that are there already are left alone, so a pull that was
            interrupted goes on.
        reporter: Told which commit was taken.

    Raises:
        UsageError: The folder holds another file of such a name.
        HubError: The model is not there, cannot be fetched, or is not the one that was pushed.
    """
    copy = fetch(address, reporter)
    names = [*copy.files, *([CARD_FILE] if (copy.folder / CARD_FILE).is_file() else [])]
    wanted = {name: file_sha256(copy.folder / name) for name in names}
    there = [name for name in names if (out / name).is_file()]
    for name in there:
        if file_sha256(out / name) != wanted[name]:
            raise UsageError(
                f"{out / name} is there already, and is not the file of {address}",
                hint="give another --out",
            )
    for name in names:
        if name not in there:
            with atomic.replacing(out / name) as temporary:
                shutil.copyfile(copy.folder / name, temporary)
    return copy
