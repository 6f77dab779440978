"""Object stores that a folder's files go on to, by fsspec.

An object appears only whole there. A file is put under its key in one request, or in parts that a
last request joins; nothing is renamed. What is read again, such as tables, is small and stays in
the folder too.
"""

from __future__ import annotations

import fnmatch
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from tcssa.errors import UploadError, UsageError
from tcssa.files.conditional_objects import ConditionalObjects
from tcssa.files.forwarding import is_placeholder, leave_placeholder
from tcssa.files.lock_objects import is_lock
from tcssa.files.object_reader import ObjectReader
from tcssa.files.remote_file import INSTALL, fault_of, plain_address

KINDS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "memory")
"""Schemes of addresses of object stores; elsewhere half a file may be seen under its name."""
_STAYS = ("*.csv", "*.json", "maps/*.jpg")
"""Names of small files that are read again, and so stay in the folder."""
_LAST = ("*.csv", "*.yaml", "*.html", "prediction.json")
"""Names of files about all slides, which go up when the slides' files stand."""
_CONTAINERS = (".h5", ".parquet")
"""Suffixes of files that are opened to see how they were made."""
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")
_WAITS_S = (1.0, 4.0)
"""Seconds before another try to put a file; the file system has tried several times by then."""
_PART_BYTES = 16 * 2**20
_PARTS_AT_ONCE = 4
"""Files of two such parts or more are put in parts, of which so many are in memory."""
_FETCHED_AT_ONCE = 8
_NO_OBJECT = {"type": "directory"}
_MOST_NAMES = 64
"""Files that are looked for one by one; a listing of their folder shows a thousand at once."""


class ObjectStore:
    """The objects below an address (see `tcssa.files.forwarding.Store`).

    Args:
        address: The address, such as ``s3://bucket/prefix``.
        folder: The folder whose files go there.

    Raises:
        UsageError: The address is not of an object store.
        UploadError: Its file system cannot be used.
    """

    def __init__(self, address: str, folder: Path) -> None:
        self.address, self.folder = plain_address(address).rstrip("/"), folder
        self._last: dict[Path, None] = {}
        self._changing = threading.Lock()
        scheme = address.partition("://")[0].lower()
        if scheme not in KINDS:
            raise UsageError(
                f"{self.address}: outputs go to folders and to object stores, not to {scheme}://",
                hint=f"known stores are {', '.join(KINDS[:-1])}; elsewhere a file that is half "
                "written is seen under its name",
            )
        import fsspec

        try:
            # no cache of listings: other hosts write too, and there are very many names
            self.files, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
        except Exception as error:  # every storage has its own errors
            raise self._fault(folder, "cannot be used", error) from None
        self.root = str(root).rstrip("/")
        self.is_s3 = scheme.startswith("s3")
        self.is_shared = self.is_s3
        """Whether processes of any host may share the work: conditional writes, of which locks are
        made, are asked of S3 alone."""
        self._reader = ObjectReader(self.files, self._key)

    def show(self) -> None:
        """Show in the folder what stands in the store: small files, and placeholders of others.

        Raises:
            UploadError: The store cannot be read.
            UsageError: The address is an object's.
        """
        try:
            found = self.files.find(self.root, detail=True)
        except Exception as error:
            raise self._fault(self.folder, "cannot be listed", error) from None
        if found.get(self.root, _NO_OBJECT)["type"] != "directory":
            raise UsageError(
                f"{self.address} is an object, not a folder", hint="name the folder above it"
            )
        there = dict(self._paths_of(found))
        self._show(there)

    def look_again(self, folder: Path, names: Sequence[str] | None) -> None:
        """See `tcssa.files.forwarding.Store.look_again`."""
        if not self.is_shared:
            return
        folder = folder.absolute()
        if names is not None and len(names) <= _MOST_NAMES:
            before = [folder / name for name in names]
            with ThreadPoolExecutor(_FETCHED_AT_ONCE) as pool:
                infos = list(pool.map(self._info, before))
            there = {path: info for path, info in zip(before, infos, strict=True) if info}
        else:
            before = [path for path in folder.rglob("*") if is_placeholder(path)]
            found = self._try(
                folder,
                "cannot be listed",
                lambda: self.files.find(self._key(folder), detail=True),
            )
            there = dict(self._paths_of(found))
        self._show(there)
        for path in before:  # what came here since is our own
            if path not in there and path not in self._last:
                path.unlink(missing_ok=True)

    def accept(self, file: Path, target: Path) -> None:
        """See `tcssa.files.forwarding.Store.accept`."""
        if self._is(target, _LAST):
            with self._changing:
                self._last.pop(target, None)  # in the order in which they were written last
                self._last[target] = None
            return
        info = self._put(file, target)
        if not self._is(target, _STAYS):
            leave_placeholder(file, int(info["size"]), _seconds(info))

    def finish(self) -> None:
        """Put the files that go up last.

        Raises:
            UploadError: The store does not take them, or they are gone: scratch was purged.
        """
        for path in list(self._last):
            with self._changing:  # first: it may be written anew meanwhile
                self._last.pop(path, None)
            try:
                self._put(path, path)
            except UploadError:
                with self._changing:
                    self._last.setdefault(path, None)
                raise

    def open(self, path: Path) -> Any:
        """See `tcssa.files.forwarding.Store.open`."""
        return self._reader.open(path.absolute())

    def remove(self, path: Path) -> None:
        """See `tcssa.files.forwarding.Store.remove`."""
        with self._changing:
            self._last.pop(path, None)

        def rm() -> None:
            with suppress(FileNotFoundError):  # it was to go up last, or another host removed it
                self.files.rm_file(self._key(path))

        self._try(path, "cannot be removed", rm)

    def lock_place(self, folder: Path) -> tuple[ConditionalObjects, str]:
        """Return what the locks of a folder are made of: objects, and the folder's key."""
        return ConditionalObjects(
            self.files, lambda work: self._try(folder, "cannot be locked", work)
        ), self._key(folder)

    def _show(self, there: Mapping[Path, Mapping[str, Any]]) -> None:
        """Fetch small files, but those that are newer here; show others by placeholders."""
        fetched, new = [], []
        for path, info in there.items():
            if path in self._last:  # it is to go up, and newer
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            shown = int(info["size"]), _seconds(info)
            if self._is(path, _STAYS):
                fetched.append((path, info))
            elif not (is_placeholder(path) and _shown(path) == shown):
                leave_placeholder(path, *shown)
                new.append(path)
        self._reader.expect(path for path in new if path.suffix in _CONTAINERS)
        with ThreadPoolExecutor(_FETCHED_AT_ONCE) as pool:
            for _ in pool.map(self._fetch, fetched):
                pass

    def _info(self, path: Path) -> Mapping[str, Any] | None:
        """Return what the store says of an object in one request; None if there is none."""
        bucket, key, _ = self.files.split_path(self._key(path))

        def ask() -> Mapping[str, Any] | None:
            try:
                reply = self.files.call_s3("head_object", Bucket=bucket, Key=key)
            except FileNotFoundError:
                return None
            return {"size": reply["ContentLength"], "LastModified": reply["LastModified"]}

        info: Mapping[str, Any] | None = self._try(path, "cannot be looked for", ask)
        return info

    def _put(self, file: Path, target: Path) -> Mapping[str, Any]:
        """Put a file under the key of a path; return what the store says of the object."""
        key = self._key(target)
        how = {"chunksize": _PART_BYTES, "max_concurrency": _PARTS_AT_ONCE} if self.is_s3 else {}

        def put() -> Mapping[str, Any]:
            size = file.stat().st_size
            self.files.put_file(str(file), key, **how)
            info: Mapping[str, Any] = self.files.info(key)
            if info["size"] != size:
                raise OSError(f"{info['size']} of {size} bytes stand there")
            return info

        stored: Mapping[str, Any] = self._try(target, "cannot be stored", put)
        return stored

    def _try(self, path: Path, what: str, work: Callable[[], Any]) -> Any:
        """Do something a few times, until it works.

        Raises:
            UploadError: It did not, or would not.
        """
        for wait_s in (*_WAITS_S, None):
            try:
                return work()
            except Exception as error:  # every storage has its own errors
                if wait_s is None or isinstance(error, PermissionError):
                    raise self._fault(path, what, error) from None
                time.sleep(wait_s)
        return None

    def _fault(self, path: Path, what: str, error: Exception) -> UploadError:
        place = f"{self.address}/{self._name(path)}" if path != self.folder else self.address
        hint = "see that the bucket is there and may be written, and give the same command again: "
        return UploadError(
            place,
            f"{what} ({fault_of(error, place)})",
            hint=INSTALL if isinstance(error, ImportError) else f"{hint}what stands there is kept",
        )

    def _fetch(self, item: tuple[Path, Mapping[str, Any]]) -> None:
        path, info = item
        try:
            self.files.get_file(self._key(path), str(path))
        except FileNotFoundError:  # another host has removed it since it was listed
            path.unlink(missing_ok=True)
            return
        except Exception as error:
            raise self._fault(path, "cannot be fetched", error) from None
        os.utime(path, (_seconds(info),) * 2)

    def _paths_of(
        self, found: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """Yield the place in the folder of each object, but of keys that are no path below it."""
        for key, info in found.items():
            if info["type"] == "directory":  # as where the first file comes while this is listed
                continue
            name = key.removeprefix(f"{self.root}/")
            parts = PurePosixPath(name).parts
            if parts and ".." not in parts and "/".join(parts) == name and not is_lock(name):
                yield self.folder.joinpath(*parts), info

    def _name(self, path: Path) -> str:
        return path.absolute().relative_to(self.folder.absolute()).as_posix()

    def _key(self, path: Path) -> str:
        name = self._name(path)
        return self.root if name == "." else f"{self.root}/{name}"

    def _is(self, path: Path, patterns: tuple[str, ...]) -> bool:
        name = self._name(path)
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _shown(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, int(stat.st_mtime)


def _seconds(info: Mapping[str, Any]) -> int:
    """Return when an object was stored, in whole seconds: a listing may tell it more finely."""
    told = next((info[name] for name in _TIMES if info.get(name) is not None), 0)
    if isinstance(told, str):
        told = datetime.fromisoformat(told)
    return int(told.timestamp()) if isinstance(told, datetime) else int(float(told))
