"""Features behind addresses (``s3://``, ...): copied whole to the cache folder of this machine.

All that is there may be features is copied, file by file, as an epoch reads all of it. Files that
are here in the same version are not fetched again, and those that are gone there are removed here.
"""

from __future__ import annotations

import glob
import hashlib
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tcssa.errors import DiskFullError, FeatureFileError, MissingDataError
from tcssa.features.feature_set_path import SEPARATOR
from tcssa.features.lazyslide_store import STORE_SUFFIX
from tcssa.features.readers.registry import SUFFIXES, TABLE_SUFFIX
from tcssa.files.cache_folder import cache_folder
from tcssa.files.host_locks import locked
from tcssa.files.remote_file import (
    as_address,
    fetch,
    look_up,
    plain_address,
    told,
    version_of,
)
from tcssa.reporter import Reporter

_KEPT = (*SUFFIXES, TABLE_SUFFIX)
_VERSIONS = ".versions"
"""File of a copy that says which version of each file was fetched; lines are only added."""
_AT_ONCE = 8


def is_features_address(address: str) -> bool:
    """Tell whether an address is of features: a file of a kind that holds them, or a folder.

    Args:
        address: A remote address; slides of one file are the other thing that is fetched.
    """
    path = PurePosixPath(plain_address(address).partition(SEPARATOR)[0])
    if path.suffix.lower() in SUFFIXES:
        return True
    return not path.suffix and not address.lower().startswith("http")  # a link may be a slide


def local_features(place: Path | str, reporter: Reporter) -> Path:
    """Return where features are on this machine: a path as it is, an address after copying it.

    Args:
        place: A path, or the address of a file or folder of features, with or without ``::NAME``.
        reporter: Told of progress, and which process is waited for if it copies the same.

    Raises:
        MissingDataError: There are no features at the address.
        FeatureFileError: They cannot be fetched.
        DiskFullError: There is no space left for the copy.
    """
    address = as_address(place)
    if address is None:
        return Path(place)
    address, separator, set_name = address.partition(SEPARATOR)
    with told(address, FeatureFileError):
        copy = _Copy.of(address)
        copy.bring_up_to_date(reporter)
    return Path(f"{copy.place}{separator}{set_name}")


@dataclass(frozen=True)
class _Copy:
    """The files of an address, and the folder that they are copied to."""

    address: str
    files: Any
    """Their file system."""
    folder: Path
    place: Path
    """What stands for the address: the folder, or the only file."""
    there: Mapping[Path, Mapping[str, Any]]
    """What the file system says of each file, by its place here."""
    adding: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, address: str) -> _Copy:
        files, inner, info = look_up(address)
        shown = plain_address(address).rstrip("/")
        key = hashlib.sha256(shown.encode()).hexdigest()[:12]
        folder = cache_folder() / "features" / f"{PurePosixPath(shown).name}-{key}"
        if info.get("type") != "directory":
            place = folder / PurePosixPath(shown).name
            return cls(address, files, folder, place, {place: {**info, "name": inner}})
        found = files.find(inner, detail=True)
        root = inner.rstrip("/") + "/"
        names = {name: PurePosixPath(name.removeprefix(root)) for name in found}
        there = {folder / names[name]: found[name] for name in found if _may_be_bag(names[name])}
        if not there:
            raise MissingDataError(f"{shown}: holds no feature files ({', '.join(_KEPT)})")
        return cls(address, files, folder, folder, there)

    def bring_up_to_date(self, reporter: Reporter) -> None:
        """Fetch what is missing or of another version, and remove what is gone."""
        shown = plain_address(self.address)

        def say(who: str) -> None:
            reporter.note(f"waiting for {who}, which fetches {shown}")

        with locked(self.folder, exclusive=True, on_wait=say):
            here = self._versions()
            wanted = {path: self._version(info) for path, info in self.there.items()}
            for path in here.keys() - wanted.keys():
                path.unlink(missing_ok=True)
            missing = [
                path for path in wanted if here.get(path) != wanted[path] or not path.is_file()
            ]
            if not missing:
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            self._require_space(sum(self.there[path].get("size") or 0 for path in missing))
            with reporter.task(f"fetching {shown}", len(missing), "files") as task:
                pool = ThreadPoolExecutor(_AT_ONCE, "fetch")
                try:
                    for _ in pool.map(lambda path: self._fetch(path, wanted[path]), missing):
                        task.advance()
                finally:
                    pool.shutdown(cancel_futures=True)

    def _fetch(self, path: Path, version: str) -> None:
        info = self.there[path]
        partial = path.with_name(f".{path.name}.{version}.part")
        for old in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
            if old != partial:
                old.unlink()
        fetch(self.files, info["name"], info.get("size"), path, partial)
        with self.adding, (self.folder / _VERSIONS).open("a", encoding="utf-8") as stream:
            stream.write(f"{version}\t{path.relative_to(self.folder).as_posix()}\n")

    def _version(self, info: Mapping[str, Any]) -> str:
        facts = "\n".join([info["name"], str(info.get("size")), *version_of(info)])
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    def _versions(self) -> dict[Path, str]:
        """Read which version of each file is here; a line that a kill cut short does not count."""
        found = self.folder / _VERSIONS
        text = found.read_text(encoding="utf-8") if found.exists() else ""
        lines = [line.split("\t", 1) for line in text.splitlines() if "\t" in line]
        return {self.folder / name: version for version, name in lines}

    def _require_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise DiskFullError(self.folder, needed_bytes=needed, free_bytes=free)


def _may_be_bag(name: PurePosixPath) -> bool:
    if ".." in name.parts or name.is_absolute():
        return False  # an object may be called anything
    in_store = any(part.lower().endswith(STORE_SUFFIX) for part in name.parts[:-1])
    hidden = any(part.startswith(".") for part in name.parts) and not in_store
    return not hidden and (in_store or name.suffix.lower() in _KEPT)
