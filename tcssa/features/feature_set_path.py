"""The address of a bag: a file on the disk, and one set of features where it holds several.

``S.h5::uni`` is the set ``uni`` of a file, ``job::uni`` the same set of every file in a folder.
Shown, the name always stands on the folder (``job::uni/S.h5``), so that the last part of a path
remains the slide's name and suffix.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Self

from tcssa.errors import FeatureFileError
from tcssa.features.lazyslide_store import is_store

SEPARATOR = "::"


@dataclass(frozen=True, slots=True, init=False)
class BagRef:
    """A bag, or a folder of bags, and the set of features to read of it.

    Args:
        path: File, LazySlide store or folder on the disk.
        set_name: The set of features; None takes the only one.
    """

    folder: str
    """The folder as text, which bags share: a Path of each of a million takes half a gigabyte."""
    file_name: str
    set_name: str | None

    def __init__(self, path: Path, set_name: str | None = None) -> None:
        self._set(intern(str(path.parent)), path.name, set_name)

    @classmethod
    def within(cls, folder: str, file_name: str, set_name: str | None) -> Self:
        """Return the bag of a file in a folder, without a Path for each of very many."""
        ref = cls.__new__(cls)
        ref._set(folder, file_name, set_name)
        return ref

    def _set(self, folder: str, file_name: str, set_name: str | None) -> None:
        object.__setattr__(self, "folder", folder)
        object.__setattr__(self, "file_name", file_name)
        object.__setattr__(self, "set_name", set_name)

    @property
    def path(self) -> Path:
        """Return the file, LazySlide store or folder on the disk."""
        return Path(self.folder, self.file_name)

    @classmethod
    def parse(cls, address: Path | str) -> Self:
        """Read an address; a path that exists is taken as it is, whatever its name."""
        path = Path(address)
        if SEPARATOR not in str(path) or path.exists():
            return cls(path)
        parts = list(path.parts)
        for index in reversed(range(len(parts))):
            base, separator, name = parts[index].rpartition(SEPARATOR)
            if separator and base and name:
                return cls(Path(*parts[:index], base, *parts[index + 1 :]), name)
        return cls(path)

    @property
    def address(self) -> Path:
        """Return what `parse` reads, with the set on the folder: ``job::uni/S.h5``."""
        path, name = self.path, self.set_name
        return path if name is None else Path(f"{path.parent}{SEPARATOR}{name}") / path.name

    @property
    def slide_id(self) -> str:
        """Return the slide's name: the file name without its extension."""
        stem, _, suffix = self.file_name.rpartition(".")  # of very many bags a Path takes long
        return stem if stem and suffix else self.file_name

    @property
    def name(self) -> str:
        """Return the file name and the set, if one is named; it tells bags of one slide apart."""
        name = self.set_name
        return self.file_name if name is None else f"{self.file_name}{SEPARATOR}{name}"

    @property
    def file(self) -> Path:
        """Return the file whose size and time represent the bag; of a LazySlide store a part."""
        path = self.path
        return path / "zarr.json" if is_store(path) else path

    def __str__(self) -> str:
        return str(self.address)


def choose_set(ref: BagRef, names: list[str]) -> str:
    """Choose the set of features to read.

    Args:
        ref: The file or store, and the set that was asked for.
        names: The sets that it holds.

    Raises:
        FeatureFileError: There is no set, none that was asked for, or several of which none was.
    """
    path, wanted = ref.path, ref.set_name
    known = ", ".join(sorted(names))
    if not names:
        raise FeatureFileError(path, "holds no patch features", hint="extract features first")
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names:
        return wanted
    first = min(names)
    hint = f"name one: {path}{SEPARATOR}{first}, or {path.parent}{SEPARATOR}{first} for a folder"
    if wanted is None:
        raise FeatureFileError(path, f"holds several sets of features: {known}", hint=hint)
    raise FeatureFileError(path, f"holds no features {wanted!r} (found: {known})", hint=hint)
