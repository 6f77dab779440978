"""Bags that are one bare array: ``.pt`` and ``.npy``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError
from tcssa.features.readers.slidechat import pickled_features
from tcssa.files import npy


def read_pt(path: Path) -> NDArray[Any]:
    """Read the features [N, D] of a ``.pt`` file: a tensor, or a dict that holds it.

    Raises:
        FeatureFileError: The file cannot be read without running code, or holds something else.
    """
    import torch

    from tcssa.files.torch_file import read_torch_file

    content = read_torch_file(path, FeatureFileError)
    if isinstance(content, dict):
        content = content.get("features", content.get("feat"))
    if not isinstance(content, torch.Tensor):
        raise FeatureFileError(path, "holds no tensor, nor a dict with 'features' or 'feat'")
    if content.dtype == torch.bfloat16:
        content = content.float()
    array: NDArray[Any] = content.numpy()
    return _as_rows(array)


def read_npy(path: Path) -> NDArray[Any]:
    """Open the features [N, D] of a ``.npy`` file; plain arrays are read only where sliced.

    Raises:
        FeatureFileError: The file cannot be read without running code, or holds something else.
    """
    content = npy.read_npy(path, FeatureFileError)
    if not isinstance(content, np.ndarray):
        content = pickled_features(content, path)
    return _as_rows(content)


def _as_rows(array: NDArray[Any]) -> NDArray[Any]:
    """Bring an array to (N, D); bags occur as (1, N, D) too and, for a single patch, as (D,)."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # torch takes no other order
    if array.ndim == 3 and array.shape[0] == 1:
        return array.reshape(array.shape[1:])
    if array.ndim == 1 and array.size:
        return array.reshape(1, -1)
    return array
