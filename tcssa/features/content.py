"""A hash of a bag's content, whatever file it is kept in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from tcssa.features.feature_set_path import BagRef
from tcssa.features.opening import open_bag

_ROWS = 4096


class ContentHash:
    """XXH3 (128 bit) of the features as they are stored and of the coordinates.

    The hash is the same for a bag and its copy, whatever the files' times, and does not depend on
    how the rows are split. It detects changes but is no signature: XXH3 does not resist forgery.

    Args:
        feature_dim: Length of a feature, D.
    """

    def __init__(self, feature_dim: int) -> None:
        self._hash = xxhash.xxh3_128(f"features {feature_dim}\n".encode())

    def add(self, rows: NDArray[Any]) -> None:
        """Add the next rows of features, [n, D], in the type they are stored in."""
        self._hash.update(np.ascontiguousarray(rows).data)

    def digest(self, coords: NDArray[Any] | None) -> str:
        """Return 32 hex digits of all rows and of the coordinates [N, 2] as they are stored."""
        whole = self._hash.copy()
        if coords is not None:
            whole.update(f"coords {coords.dtype.str}\n".encode())
            whole.update(np.ascontiguousarray(coords).data)
        return whole.hexdigest()


def content_hash(bag: BagRef | Path) -> str:
    """Hash the content of a feature file.

    Raises:
        FeatureFileError: The file cannot be read.
    """
    with open_bag(bag) as opened:
        content = ContentHash(opened.feature_dim)
        for begin in range(0, opened.num_patches, _ROWS):
            content.add(opened.read(begin, begin + _ROWS))
        return content.digest(opened.read_coords())


def is_unchanged(bag: BagRef, name: str, num_bytes: int, mtime_ns: int, content: str) -> bool:
    """Tell whether a feature file is what something was made of.

    A file of the same name, size and time is taken to be the same, as build tools do; otherwise,
    as for a copy of another time, the content is compared.

    Args:
        bag: The file.
        name: Its name then.
        num_bytes: Its size then.
        mtime_ns: Its time of change then.
        content: Its `content_hash` then.

    Raises:
        FeatureFileError: The content cannot be read.
    """
    if bag.name != name:
        return False
    stat = bag.file.stat()
    return (stat.st_size, stat.st_mtime_ns) == (num_bytes, mtime_ns) or content_hash(bag) == content
