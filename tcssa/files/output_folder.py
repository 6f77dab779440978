"""The folder that a command writes to: as given, or scratch whose files go on to an address.

Scratch lies in the cache folder, as long as the command runs. It holds what is being written, and
small tables; of everything else that stands in the store it holds a placeholder.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tcssa.errors import DiskFullError, TcssaError, UploadError, UsageError, counted
from tcssa.files.cache_folder import cache_folder
from tcssa.files.forwarding import forwarding, store_of
from tcssa.files.lock_objects import lock_key
from tcssa.files.object_store import ObjectStore
from tcssa.files.process_folder import ProcessFolder
from tcssa.files.remote_file import as_address
from tcssa.files.unfinished_uploads import end_unfinished
from tcssa.reporter import Reporter

_KIND = "tcssa-out"


@contextmanager
def output_folder(out: Path | str, reporter: Reporter) -> Iterator[Path]:
    """Yield the folder to write to.

    What goes to an address goes up file by file as it is written; tables and reports of all slides
    go up at the end of the block, also when it raises.

    Args:
        out: A folder, or the address of one in an object store, such as ``s3://bucket/prefix``.
        reporter: Told what of earlier calls was left in the store.

    Raises:
        UsageError: The address is not of an object store, or there is no place for scratch.
        UploadError: The store cannot be used, or does not take the tables.
    """
    address = as_address(out)
    if address is None:
        yield Path(out)
        return
    with _scratch(address) as folder:
        store = ObjectStore(address, folder)
        store.show()
        _end_unfinished(store, reporter)
        _try_conditions(store, reporter)
        with forwarding(folder, store):
            try:
                yield folder
            except BaseException as error:
                with _told(reporter):
                    store.finish()
                if isinstance(error, DiskFullError):  # where there is no space is what is to know
                    raise DiskFullError(folder.parent) from None
                raise
            store.finish()


@contextmanager
def seen_folder(place: Path) -> Iterator[Path]:
    """Yield a folder as it is, or one that shows the names, sizes and times behind an address.

    Args:
        place: A folder, or the address of one in an object store; nothing is written there.

    Raises:
        UsageError: The address is not of an object store, or there is no place for scratch.
        UploadError: The store cannot be read.
    """
    address = as_address(place)
    if address is None:
        yield place
        return
    with _scratch(address) as folder:
        store = ObjectStore(address, folder)
        store.show()
        with forwarding(folder, store):
            yield folder


@dataclass(frozen=True)
class Forwarded:
    """A folder and where its files go on to, for a process that another one started."""

    folder: Path
    address: str | None
    """Where they go; None where they stay."""
    is_shared: bool = False
    """Whether other calls may work on the same address."""

    @classmethod
    def like(cls, folder: Path) -> Forwarded:
        """Return how the files of a folder go on in this process."""
        store = store_of(folder)
        if store is None:
            return cls(folder, None)
        return cls(folder, store.address, isinstance(store, ObjectStore) and store.is_shared)

    @contextmanager
    def here(self) -> Iterator[None]:
        """Let them go on in this process too, within a block."""
        if self.address is None:
            yield
            return
        store = ObjectStore(self.address, self.folder)
        store.is_shared = self.is_shared
        with forwarding(self.folder, store):
            yield
            store.finish()


@contextmanager
def _scratch(address: str) -> Iterator[Path]:
    if sys.platform == "win32":
        raise UsageError(
            "outputs go to an address on Linux and macOS only",
            hint="write to a folder, and copy it",
        )
    parent = cache_folder().resolve() / "outputs"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        scratch = ProcessFolder(parent, _KIND)
    except OSError as error:
        raise UsageError(
            f"{parent}: cannot hold what is written ({error.strerror})",
            hint="name a folder with TCSSA_CACHE",
        ) from None
    try:
        folder = scratch.path / (PurePosixPath(address.rstrip("/")).name or "out")
        folder.mkdir()
        yield folder
    finally:
        scratch.close()


def _end_unfinished(store: ObjectStore, reporter: Reporter) -> None:
    """End what killed calls began to put in parts, and name what may be another host's."""
    if not store.is_s3:
        return
    try:
        ended, young = end_unfinished(store.files, store.root)
    except Exception as error:  # as where listing them is not allowed
        reporter.warn(f"{store.address}: unfinished uploads cannot be listed ({error})")
        return
    if ended:
        reporter.note(
            f"{counted(len(ended), 'unfinished upload')} of killed calls ended, such as {ended[0]}"
        )
    if young:
        reporter.note(
            f"{counted(len(young), 'unfinished upload')}, such as {young[0]}, of a killed call or "
            "of another host at work: a call in an hour ends what is left then"
        )


def _try_conditions(store: ObjectStore, reporter: Reporter) -> None:
    """See whether calls that share the address can lock slides, and say so where they cannot."""
    if not store.is_shared:
        return
    objects, root = store.lock_place(store.folder)
    store.is_shared, why = False, "it looks at no condition of a write"
    try:
        store.is_shared = objects.are_conditions_kept(lock_key(root, uuid.uuid4().hex))
    except UploadError as error:
        why = error.reason
    if not store.is_shared:
        reporter.warn(
            f"{store.address}: slides cannot be locked here ({why}): give one call at a time, or "
            "slides are done twice"
        )


@contextmanager
def _told(reporter: Reporter) -> Iterator[None]:
    """Warn of an error in place of raising it, where another one is on its way."""
    try:
        yield
    except TcssaError as error:
        reporter.warn(str(error))
