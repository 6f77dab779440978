"""Bags that are one bare array: ``.pt`` and ``.npy``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError, one_line
from tcssa.features.slidechat import read_pickled_npy


def read_pt(path: Path) -> NDArray[Any]:
    """The rows in a ``.pt`` file, [N, D]: a tensor, or a dict that holds it.

    Raises:
        FeatureFileError: The file cannot be read without running code, or holds something else.
    """
    import torch

    from tcssa.compressor.reference import read_pickled_data
    from tcssa.errors import CheckpointError

    try:
        content = read_pickled_data(path)
    except CheckpointError as error:
        raise FeatureFileError(path, error.reason, hint=error.hint) from None
    if isinstance(content, dict):
        content = content.get("features", content.get("feat"))
    if not isinstance(content, torch.Tensor):
        raise FeatureFileError(path, "holds no tensor, nor a dict with 'features' or 'feat'")
    if content.dtype == torch.bfloat16:
        content = content.float()
    array: NDArray[Any] = content.numpy()
    return _as_rows(array)


def read_npy(path: Path) -> NDArray[Any]:
    """The rows in a ``.npy`` file, [N, D]; read from the disk only where they are sliced.

    Raises:
        FeatureFileError: The file cannot be read without running code, or holds something else.
    """
    with path.open("rb") as stream:
        is_array = stream.read(6) == b"\x93NUMPY"
    if not is_array:
        raise FeatureFileError(path, "is not a NumPy file; nothing in it was loaded")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "object" in str(error).lower():
            return _as_rows(read_pickled_npy(path))
        raise FeatureFileError(path, f"is not a readable array ({one_line(error)})") from None
    except (OSError, EOFError) as error:
        raise FeatureFileError(path, f"is not a readable array ({one_line(error)})") from None
    return _as_rows(array)


def _as_rows(array: NDArray[Any]) -> NDArray[Any]:
    """Bags occur as (N, D), (1, N, D) and, of a single patch, (D,)."""
    if array.ndim == 3 and array.shape[0] == 1:
        return array.reshape(array.shape[1:])
    if array.ndim == 1 and array.size:
        return array.reshape(1, -1)
    return array
