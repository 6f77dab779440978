"""An encoded archive as a collection of slides, whatever it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tcssa.errors import MissingDataError
from tcssa.optional import require
from tcssa_runtimes.archive.archive_kind import kind_of
from tcssa_runtimes.archive.slot_files import FOLDER, read_slots, slide_features_path
from tcssa_runtimes.archive.slot_parts import find_parts, read_part, read_part_facts, row_of
from tcssa_runtimes.archive.stored_slots import StoredSlots


def open_archive(path: Path | str) -> Archive:
    """Open an archive that ``tcssa encode`` or ``convert`` wrote.

    Returns:
        Its slides: ``len(archive)``, ``for slide in archive``, ``archive["S"]``.

    Raises:
        MissingDataError: The folder holds no encoded slides.
        UsageError: It holds HDF5 files and Parquet parts.
        FeatureFileError: A part is broken.
        MissingExtraError: It is of Parquet, and pyarrow is not installed.
    """
    given = Path(path)
    return Archive(given.parent if given.name == FOLDER else given)


class Archive:
    """The slides of an encoded archive; none is in memory before it is asked for.

    Args:
        path: The folder above ``slide_features_tcssa``.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.kind = path, kind_of(path)
        self._places: dict[str, tuple[Path, int]] = {}
        if self.kind == "hdf5":
            self.slide_ids = sorted(file.stem for file in (path / FOLDER).glob("*.h5"))
            return
        for part in find_parts(path):
            for row, facts in enumerate(read_part_facts(part)):
                self._places[facts.name] = part, row
        self.slide_ids = sorted(self._places)
        if not self.slide_ids:
            raise MissingDataError(
                f"{path}: holds no encoded slides", hint="name the --out of tcssa encode"
            )

    def __len__(self) -> int:
        return len(self.slide_ids)

    def __iter__(self) -> Iterator[StoredSlots]:
        """Yield the slides: of HDF5 files by name, of Parquet part after part."""
        if self.kind == "hdf5":
            yield from map(self.__getitem__, self.slide_ids)
        for part in dict.fromkeys(part for part, _ in self._places.values()):
            for row, slide in enumerate(read_part(part)):
                if self._places[slide.facts.name] == (part, row):  # not one that is there twice
                    yield slide

    def __getitem__(self, slide_id: str) -> StoredSlots:
        """Return a slide.

        Raises:
            KeyError: The archive does not hold it.
            FeatureFileError: Its file is broken.
        """
        if self.kind == "hdf5":
            path = slide_features_path(self.path, slide_id)
            if not path.is_file():
                raise KeyError(slide_id)
            return read_slots(path)
        part, row = self._places[slide_id]
        return next(read_part(part, row))

    def to_pandas(self) -> Any:  # pandas is optional
        """Return a table (`pandas.DataFrame`), a row a slide, its arrays flat in their cells.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return require("pandas", "pandas").DataFrame([row_of(slide) for slide in self])
