"""The features of a cohort as float16 in one file, packed once for all folds, runs and processes.

::

    FOLDER/features-<key>/
      rows.bin      [patches, D] float16 of every slide, each starting on a page of its own
      index.json    the slides packed so far, with a hash of their rows and what rounding changed

The key is derived from the cohort's features: their hash, and the size and time of every file.
Other features go to another folder; the content of a folder never changes. A slide's offset follows
from the numbers of patches, so every process that packs writes the same bytes to the same place,
and a lock only saves work. The index is replaced as a whole, after the rows that it names are on
the disk: if packing is killed, the pack holds the slides of its index, and the next process
continues with the others.

A slide with a value beyond the range of float16 is left out; it is read unrounded from its own
file.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from tcssa.errors import FeatureFileError
from tcssa.features.feature_set_path import BagRef
from tcssa.files.boundary import require_file
from tcssa.files.checksums import params_hash
from tcssa.files.text import read_model
from tcssa.mil.cohort.cohort import Cohort, CohortSlide

FORMAT_VERSION = 1
PREFIX = "features-"
ROWS_FILE, INDEX_FILE = "rows.bin", "index.json"
_ITEM_BYTES = 2
_PAGE_BYTES = 65_536
"""Page size of the system with the largest pages, so that all systems read the same file."""
_REFUSALS = {
    errno.EMFILE: "allow this process more open files: ulimit -n",
    errno.ENFILE: "this machine has too many files open: close other programs",
    errno.ENOMEM: "allow this process more memory (ulimit -v), or map nothing: --cache-gb 0",
    errno.EACCES: "get the right to read it, or name another folder with --feature-cache",
    errno.EPERM: "get the right to read it, or name another folder with --feature-cache",
}
"""Hints for errors of the system that do not mean that the file is damaged."""


class PackedSlide(BaseModel):
    """A slide's entry in the index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows_xxh3: str | None
    """Hash of the slide's rows; None if it was left out."""
    largest_change: float = 0.0
    """Largest absolute change of a value by rounding to float16."""
    too_large_row: int | None = None
    """Index of the first patch with a value beyond float16, for which the slide was left out."""


class PackIndex(BaseModel):
    """The content of ``index.json``."""

    model_config = ConfigDict(extra="forbid")

    format_version: int = FORMAT_VERSION
    feature_dim: int
    slides: dict[str, PackedSlide] = {}


class Place(NamedTuple):
    """The place of a slide's rows in the file."""

    offset: int
    """In bytes from the start of the file."""
    num_patches: int


@dataclass(frozen=True)
class Rounding:
    """The difference between features in float16 and those in the files."""

    largest_change: float
    """Largest absolute change of a value."""
    left_as_they_are: dict[str, str]
    """slide_id of each slide that does not fit float16 and is not rounded, with the reason."""


@dataclass(frozen=True)
class FeaturePack:
    """A complete pack, open for reading; any number of threads may read."""

    folder: Path
    feature_dim: int
    slides: dict[str, PackedSlide]
    places: dict[str, Place]

    def holds(self, slide: CohortSlide) -> bool:
        """Tell whether the pack has the features of a slide."""
        found = self.slides.get(slide.slide_id)
        return found is not None and found.rows_xxh3 is not None

    def num_bytes(self, slide: CohortSlide) -> int:
        """Return the size in bytes of the features of a slide that the pack holds."""
        return self.places[slide.slide_id].num_patches * self.feature_dim * _ITEM_BYTES

    def map(self) -> Tensor:
        """Map all values of the file, float16, as pages that all processes share.

        Call it once, in the main thread, and pass the result to every `read`: each map keeps a
        file open. The map is read-only, because with copy-on-write the system would require as
        much free memory; never write to the tensor.

        Raises:
            FeatureFileError: The file cannot be mapped.
        """
        try:
            values = np.memmap(self.folder / ROWS_FILE, np.float16, "r")
        except OSError as error:
            raise self._unreadable(error) from None
        except ValueError as error:
            raise self._damaged(f"cannot be mapped ({error})") from None
        with warnings.catch_warnings():  # about a read-only array; nothing writes to it
            warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
            return torch.from_numpy(values)

    def read(self, slide: CohortSlide, mapped: Tensor | None = None) -> Tensor:
        """Return the features [N, D] of a slide in the pack, float16, checked against their hash.

        Args:
            slide: A slide that the pack holds.
            mapped: The result of `map`, to return a view of it; None reads a copy.

        Raises:
            FeatureFileError: The file cannot be read, or the rows do not match their hash.
        """
        place = self.places[slide.slide_id]
        shape = (place.num_patches, self.feature_dim)
        begin, count = place.offset // _ITEM_BYTES, shape[0] * shape[1]
        if mapped is None:
            try:
                values = np.fromfile(
                    self.folder / ROWS_FILE, np.float16, count, offset=place.offset
                )
            except OSError as error:
                raise self._unreadable(error) from None
            found = torch.from_numpy(values)
        else:
            found = mapped[begin : begin + count]
        # this also touches every page, here in a reader thread rather than in the training step
        if rows_hash(found.numpy()) != self.slides[slide.slide_id].rows_xxh3:
            raise self._damaged(f"holds other rows of slide {slide.slide_id} than were written")
        return found.view(shape)

    def rounding(self) -> Rounding:
        """Summarise what rounding to float16 changed, over all slides."""
        return Rounding(
            max((slide.largest_change for slide in self.slides.values()), default=0.0),
            {
                name: f"row {slide.too_large_row} has a value beyond float16"
                for name, slide in self.slides.items()
                if slide.too_large_row is not None
            },
        )

    def _unreadable(self, error: OSError) -> FeatureFileError:
        """Turn an error of the system into ours; most do not mean that the file is damaged."""
        reason = f"cannot be read ({error.strerror or error})"
        hint = _REFUSALS.get(error.errno or 0)
        if hint is None:
            return self._damaged(reason)
        return FeatureFileError(self.folder / ROWS_FILE, reason, hint=hint)

    def _damaged(self, reason: str) -> FeatureFileError:
        hint = f"remove {self.folder} and give the same command again: it is made anew"
        return FeatureFileError(self.folder / ROWS_FILE, reason, hint=hint)


def read_index(folder: Path, feature_dim: int, num_bytes: int) -> PackIndex:
    """Read which slides are packed; the index is empty if there is no pack or it is damaged.

    Args:
        folder: The pack's folder.
        feature_dim: D that the pack must have.
        num_bytes: Size that the file of rows must have, in bytes.
    """
    nothing = PackIndex(feature_dim=feature_dim)
    try:
        index = read_model(folder / INDEX_FILE, FeatureFileError, PackIndex)
        size = require_file(folder / ROWS_FILE, FeatureFileError)
    except FeatureFileError:
        return nothing
    fits = (index.format_version, index.feature_dim, size) == (
        FORMAT_VERSION, feature_dim, num_bytes
    )  # fmt: skip
    return index if fits else nothing


def places_of(slides: Sequence[CohortSlide], feature_dim: int) -> tuple[dict[str, Place], int]:
    """Lay out the rows of slides in a file, independently of the order of the slides.

    Args:
        slides: All slides of the cohort.
        feature_dim: D of their features.

    Returns:
        The place of each slide's rows by slide_id, and the size of the file in bytes.
    """
    places, end = {}, 0
    for slide in sorted(slides, key=lambda slide: slide.slide_id):
        places[slide.slide_id] = Place(end, slide.num_patches)
        end += slide.num_patches * feature_dim * _ITEM_BYTES
        end += -end % _PAGE_BYTES
    return places, end


def pack_key(cohort: Cohort) -> str:
    """Return the key that distinguishes the pack of a cohort from those of other features.

    Raises:
        FeatureFileError: A feature file is gone or not accessible.
    """
    files = {slide.slide_id: _stat(slide.path) for slide in cohort.slides}
    return params_hash(
        {
            "format_version": FORMAT_VERSION,
            "features": cohort.features_hash,
            "files": {name: [file.st_size, file.st_mtime_ns] for name, file in files.items()},
        }
    )


def _stat(path: Path) -> os.stat_result:
    try:
        return BagRef.parse(path).file.stat()
    except OSError as error:
        raise FeatureFileError(path, f"cannot be read ({error.strerror or error})") from None


def rows_hash(rows: NDArray[np.float16]) -> str:
    """Hash the rows of a slide, to check later that they are those that were written."""
    return xxhash.xxh3_64_hexdigest(np.ascontiguousarray(rows).data)
