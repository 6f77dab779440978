"""The features of a cohort as float16, packed once for all folds, runs and processes.

::

    FOLDER/features-<key>/<slide_id>.safetensors    features [N, D] float16 of one slide

The metadata of a file holds a hash of its rows and what rounding changed. The key is derived from
the cohort's features: their hash, and the size and time of every file. Other features go to another
folder; the content of a folder never changes. Every file is written under another name and renamed:
if packing is killed, the pack holds the slides that are there, and the next process continues with
the others.

A slide with a value beyond the range of float16 has a file without rows; it is read unrounded from
its own file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from safetensors.torch import save_file
from torch import Tensor

from tcssa.errors import FeatureFileError
from tcssa.files import atomic
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.tensors import read_safetensors
from tcssa.mil.bags.rounding import Rounded
from tcssa.mil.cohort.cohort import CohortSlide

PREFIX, SUFFIX = "features-", ".safetensors"
_NAME = "features"
_REFUSALS = {
    errno.EMFILE: "allow this process more open files: ulimit -n",
    errno.ENFILE: "this machine has too many files open: close other programs",
    errno.EACCES: "get the right to read it, or name another folder with --feature-cache",
    errno.EPERM: "get the right to read it, or name another folder with --feature-cache",
}
"""Hints for errors of the system that do not mean that the file is damaged."""


class PackedSlide(BaseModel):
    """The metadata of a slide's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows_xxh3: str
    """Hash of the slide's rows."""
    largest_change: float
    """Largest absolute change of a value by rounding to float16."""
    too_large_row: int | None = None
    """Index of the first patch with a value beyond float16, for which the file has no rows."""


@dataclass(frozen=True)
class Rounding:
    """The difference between features in float16 and those in the files."""

    largest_change: float
    """Largest absolute change of a value."""
    left_as_they_are: dict[str, str]
    """slide_id of each slide that does not fit float16 and is not rounded, with the reason."""


@dataclass(frozen=True)
class FeaturePack:
    """A complete pack; any number of threads may read."""

    folder: Path
    slides: Mapping[str, PackedSlide]

    def holds(self, slide: CohortSlide) -> bool:
        """Tell whether the pack has the features of a slide."""
        found = self.slides.get(slide.slide_id)
        return found is not None and found.too_large_row is None

    def read(self, slide: CohortSlide) -> Tensor:
        """Return the features [N, D] of a slide in the pack, float16, checked against their hash.

        They are pages of the file, which processes share; never write to the tensor.

        Raises:
            FeatureFileError: The file cannot be read, or the rows do not match their hash.
        """
        features = read_packed(self.folder, slide.slide_id, rows=True)[0]
        # this also touches every page, here in a reader thread rather than in the training step
        if _hash(features.numpy()) != self.slides[slide.slide_id].rows_xxh3:
            path = packed_file(self.folder, slide.slide_id)
            raise FeatureFileError(path, "holds other rows than were written", hint=_remade(path))
        return features

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


def packed_file(folder: Path, slide_id: str) -> Path:
    """Return the path of a slide's file in a pack."""
    return folder / f"{slide_id}{SUFFIX}"


def read_packed(folder: Path, slide_id: str, *, rows: bool) -> tuple[Tensor, PackedSlide]:
    """Map the file of a slide.

    Args:
        folder: The pack's folder.
        slide_id: A slide that is packed.
        rows: The rows are needed now, so the system reads the whole file at once.

    Raises:
        FeatureFileError: The file cannot be read; the hint says if that is no damage of it.
    """
    path = packed_file(folder, slide_id)
    try:
        # safetensors calls any file absent that it cannot open
        with reading(path, FeatureFileError), path.open("rb") as file:
            if rows and hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
        tensors, facts = read_safetensors(path, FeatureFileError)
        with reading(path, FeatureFileError):
            packed = PackedSlide.model_validate(facts)
            features = tensors[_NAME]
            if features.dtype != torch.float16 or features.dim() != 2:
                raise UnsoundError("holds no rows of float16")
    except FeatureFileError as error:
        error.hint = _refusal(error) or _remade(path)
        raise
    return features, packed


def is_refused(error: FeatureFileError) -> bool:
    """Tell whether the system refused to open a file that need not be damaged."""
    return _refusal(error) is not None


def write_packed(folder: Path, slide_id: str, rounded: Rounded) -> PackedSlide:
    """Write the file of a slide.

    Args:
        folder: The pack's folder.
        slide_id: The slide.
        rounded: Its features; a value beyond float16 leaves out all rows.

    Raises:
        DiskFullError: The disk has no space for the file.
        OSError: The file cannot be written.
    """
    rows = rounded.features if rounded.too_large_row is None else rounded.features[:0]
    packed = PackedSlide(
        rows_xxh3=_hash(rows),
        largest_change=rounded.largest_change,
        too_large_row=rounded.too_large_row,
    )
    facts = {name: str(value) for name, value in packed.model_dump(exclude_none=True).items()}
    with atomic.replacing(packed_file(folder, slide_id)) as temporary:
        save_file({_NAME: torch.from_numpy(np.ascontiguousarray(rows))}, temporary, facts)
    return packed


def _refusal(error: FeatureFileError) -> str | None:
    number = error.__cause__.errno if isinstance(error.__cause__, OSError) else None
    return _REFUSALS.get(number or 0)


def _hash(rows: NDArray[np.float16]) -> str:
    return xxhash.xxh3_64_hexdigest(np.ascontiguousarray(rows).data)


def _remade(path: Path) -> str:
    return f"remove {path} and give the same command again: it is made anew"
