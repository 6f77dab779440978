"""The bag of one slide: its patch features, open for reading."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError, one_line
from tcssa.features.feature_set_path import BagRef

READ_AGAIN = "extract this slide again: the file is incomplete or damaged"
_MAX_PLACE = 2.0**53
"""Bound on a corner's coordinates; larger whole numbers are not exact in float64."""


@dataclass
class Bag:
    """The patch features of one slide, open for reading; use it as a context manager.

    ``features`` and ``coords`` slice like arrays and are read from the disk only where sliced.
    """

    ref: BagRef
    features: Any
    """[N, D], rows of an HDF5 dataset or an array."""
    coords: Any | None
    """Top-left corners (x, y), [N, 2]; None if the file has none."""
    coords_unit: str = "level0_px"
    """``level0_px``, or ``um`` in STAMP's files, which do not give the slide's resolution."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """Attributes of the file: encoder, patch_size_level0, mpp_target …"""
    file: h5py.File | None = None

    @property
    def path(self) -> Path:
        """The bag's address, as errors show it: ``job/S.h5``, or ``job::uni/S.h5``."""
        return self.ref.address

    @property
    def slide_id(self) -> str:
        """The slide's name: the file name without its extension."""
        return self.ref.slide_id

    @property
    def num_patches(self) -> int:
        """The number of patches, N."""
        return int(self.features.shape[0])

    @property
    def feature_dim(self) -> int:
        """The length of a feature, D; 0 for an empty bag whose file does not give it."""
        return int(self.features.shape[1]) if len(self.features.shape) > 1 else 0

    @property
    def encoder(self) -> str | None:
        """The encoder that made the features, if the file names it.

        Raises:
            FeatureFileError: The attribute is not text.
        """
        for attribute in ("encoder", "extractor"):
            name = self.attributes.get(attribute)
            if name is not None and not isinstance(name, str):
                raise FeatureFileError(self.path, f"its attribute {attribute!r} is no text")
            if name and name != "None":  # TRIDENT writes None as the string 'None'
                return name
        return None

    @property
    def patch_size_level0(self) -> int | None:
        """The side of a patch in level-0 pixels, if the file gives it.

        Raises:
            FeatureFileError: The attribute is not a finite number of at least 0.
        """
        size = self.attributes.get("patch_size_level0")
        if size is None or (isinstance(size, str) and size == "None"):
            return None
        if not isinstance(size, int | float) or not math.isfinite(size) or size < 0:
            raise FeatureFileError(self.path, f"its attribute 'patch_size_level0' is {size!r}")
        return int(size)

    @property
    def um_per_coord(self) -> float | None:
        """Micrometres per unit of the coordinates, if the file gives them."""
        if self.coords_unit == "um":
            return 1.0
        mpp = self.attributes.get("mpp_level0")
        is_size = isinstance(mpp, int | float) and math.isfinite(mpp) and mpp > 0
        return float(mpp) if mpp is not None and is_size else None

    def read(self, begin: int = 0, end: int | None = None) -> NDArray[Any]:
        """Read rows of the features, in the type they are stored in.

        Args:
            begin: First row.
            end: Row to stop before; None reads to the last one.

        Returns:
            Features [n, D].

        Raises:
            FeatureFileError: The rows cannot be read.
        """
        return self._slice(self.features, begin, end)

    def read_coords(self, begin: int = 0, end: int | None = None) -> NDArray[Any] | None:
        """Read rows of the corners.

        Args:
            begin: First row.
            end: Row to stop before; None reads to the last one.

        Returns:
            Corners (x, y), [n, 2], in the unit ``coords_unit``; None if the file has none.

        Raises:
            FeatureFileError: The rows cannot be read, or hold a value that is not finite or too
                large for a slide.
        """
        if self.coords is None:
            return None
        coords = self._slice(self.coords, begin, end)[:, :2]
        if coords.dtype.kind == "f" and not (np.abs(coords) < _MAX_PLACE).all():
            raise FeatureFileError(self.path, "its coords are not all places on a slide")
        return coords

    def chunks(self, rows: int) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
        """Yield features and corners, ``rows`` patches at a time."""
        for begin in range(0, self.num_patches, rows):
            end = min(begin + rows, self.num_patches)
            yield self.read(begin, end), self.read_coords(begin, end)

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _slice(self, rows: Any, begin: int, end: int | None) -> NDArray[Any]:
        try:
            return np.asarray(rows[begin:end])
        except MemoryError:
            raise
        except Exception as error:  # as in `reading`, with the rows
            said = one_line(error) or type(error).__name__
            reason = f"rows {begin} to {end} cannot be read ({said})"
            raise FeatureFileError(self.path, reason, hint=READ_AGAIN) from error
