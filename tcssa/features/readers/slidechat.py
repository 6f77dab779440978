"""Features in the formats of SlideChat's data sets: pickled in ``.npy``, or text in ``.csv``.

The ``.npy`` file is a 0-d object array, which is a pickle of a dict with the key ``feature``. It is
read by `tcssa.files.pickled`, which runs no code.

A ``.csv`` file has one row per patch: D numbers, then the patch's name; a header may come first.
The name gives the patch's position, in ways that differ between data sets, so no coordinates are
read.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError
from tcssa.files.table import cells_by_line, number, numbers
from tcssa.files.text import read_text

FEATURE_KEYS = ("feature", "features", "feat")


def pickled_features(content: Any, path: Path) -> NDArray[Any]:
    """Find the features [N, D] in the content of a pickled ``.npy`` file.

    Args:
        content: The list of the array's objects.
        path: The file, for errors.

    Raises:
        FeatureFileError: The content is no array and has none under `FEATURE_KEYS`.
    """
    while isinstance(content, list) and len(content) == 1:
        content = content[0]
    if isinstance(content, dict):
        content = next((content[key] for key in FEATURE_KEYS if key in content), None)
    if hasattr(content, "detach"):
        content = content.float().numpy()
    if not isinstance(content, np.ndarray):
        raise FeatureFileError(path, f"holds none of {', '.join(FEATURE_KEYS)}")
    return content


def read_csv_features(path: Path) -> NDArray[np.float32]:
    """Read the features [N, D] of a ``.csv`` file.

    Raises:
        FeatureFileError: The file holds no features, or a row differs in length from the first or
            holds something other than numbers; the error names the line.
    """
    values = array("f")  # the numbers of a list take eight times the memory
    dim = None
    for line, cells in cells_by_line(
        read_text(path, FeatureFileError, table=True), path, FeatureFileError
    ):
        if len(cells) < 2 or len(cells) - 1 != (dim or len(cells) - 1):
            reason = f"line {line} must hold {dim or 'D'} numbers and the patch's name"
            raise FeatureFileError(path, reason)
        if dim is None:
            dim = len(cells) - 1
            if _is_header(cells[:-1]):
                continue
        try:
            values.extend(numbers(cells[:-1]))
        except ValueError as fault:
            raise FeatureFileError(path, f"line {line}: {fault}") from None
    if dim is None or not values:
        raise FeatureFileError(path, "holds no features")
    return np.frombuffer(values, dtype=np.float32).reshape(-1, dim)


def _is_header(cells: Sequence[str]) -> bool:
    """Tell whether cells are names or column numbers; a single damaged number makes no header."""
    known = [_number(cell) for cell in cells]
    return known == list(range(len(cells))) or not any(value is not None for value in known)


def _number(cell: str) -> float | None:
    try:
        return number(cell)
    except ValueError:
        return None
