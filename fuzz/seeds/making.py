"""Files made in memory or in a folder that is gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fuzz.folders import pack_folder


def made(write: Callable[[Path], object], suffix: str = "") -> bytes:
    """Return what a function writes to the path it is given: a file, or a folder packed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"S{suffix}"
        write(path)
        return pack_folder(path) if path.is_dir() else path.read_bytes()


def numbers(rows: int, columns: int, seed: int = 0) -> NDArray[np.float32]:
    """Normal numbers, with few digits so that they pack."""
    drawn = np.random.default_rng(seed).standard_normal((rows, columns))
    return np.round(drawn, 1).astype(np.float32)


def corners(rows: int) -> NDArray[np.int64]:
    """Corners of patches in rows of ten."""
    return np.stack([np.arange(rows) % 10, np.arange(rows) // 10], axis=1) * 224
