"""Features as SlideChat's data sets have them: pickled in ``.npy``, or text in ``.csv``.

The ``.npy`` file is a 0-d object array, which is a pickle of a dict with the key ``feature``.
Unpickling runs what the file says, so it is read by an unpickler that admits arrays, tensors and
plain containers and nothing else.

A ``.csv`` file has a row a patch: D numbers, then the patch's name; a header may stand first. The
name says where the patch was, in ways that differ between data sets, so no coordinates are read.
"""

from __future__ import annotations

import io
import pickle
import warnings
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError, one_line
from tcssa.files.table import cells_by_line, number, numbers
from tcssa.files.text import read_text

FEATURE_KEYS = ("feature", "features", "feat")


def read_pickled_npy(path: Path) -> NDArray[Any]:
    """The features [N, D] in a ``.npy`` file that pickles a dict.

    Raises:
        FeatureFileError: The file holds more than data, or no features; nothing in it was run.
    """
    with path.open("rb") as stream:
        try:
            version = np.lib.format.read_magic(stream)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(stream)
            if dtype != np.dtype(object) or shape != ():
                raise FeatureFileError(path, f"holds {list(shape)} of {dtype}, not one dict")
            content = _DataUnpickler(stream).load()
        except _RefusedError as refused:
            raise FeatureFileError(
                path,
                f"holds more than data ({refused}) and was not loaded; nothing in it was run",
                hint="save the features as a plain array: np.save(file, features)",
            ) from None
        except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError) as error:
            reason = f"is not a readable array ({one_line(error)})"
            raise FeatureFileError(path, reason) from None
    # the array of one object is a list of it in the pickle
    while isinstance(content, np.ndarray | list) and np.shape(content) in ((), (1,)):
        content = content.item() if isinstance(content, np.ndarray) else content[0]
    if isinstance(content, dict):
        content = next((content[key] for key in FEATURE_KEYS if key in content), None)
    if hasattr(content, "detach"):
        content = content.detach().float().numpy()
    if not isinstance(content, np.ndarray) or content.dtype == object:
        raise FeatureFileError(path, f"holds none of {', '.join(FEATURE_KEYS)}")
    return content


class _RefusedError(Exception):
    """A name in a pickle that is no data."""


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Admit what arrays, tensors and plain containers are made of."""
        admitted = _admitted().get((module.replace("numpy.core", "numpy._core"), name))
        if admitted is None:
            raise _RefusedError(f"{module}.{name}")
        return admitted


def _admitted() -> dict[tuple[str, str], Callable[..., Any]]:
    import collections

    core = np._core.multiarray  # type: ignore[attr-defined]  # numpy keeps it private
    return {
        ("numpy._core.multiarray", "_reconstruct"): core._reconstruct,
        ("numpy._core.multiarray", "scalar"): core.scalar,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch.storage", "_load_from_bytes"): _load_storage,
    }


def _rebuild_tensor(*arguments: Any) -> Any:
    from torch._utils import _rebuild_tensor_v2

    rebuilt: Any = _rebuild_tensor_v2(*arguments)  # type: ignore[no-untyped-call]  # torch's gap
    return rebuilt


def _load_storage(content: bytes) -> Any:
    """A tensor's numbers, by torch's own restricted unpickler."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on pickle protocols help nobody here
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise _RefusedError("a torch file with more than tensors") from None


def read_csv_features(path: Path) -> NDArray[np.float32]:
    """The features [N, D] in a ``.csv`` file.

    Raises:
        FeatureFileError: A row is of another length than the first, or holds no numbers; the line
            is named.
    """
    values = array("f")  # the numbers of a list take eight times the memory
    dim = None
    for line, cells in cells_by_line(read_text(path, FeatureFileError), path, FeatureFileError):
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
    """Whether cells are names, or the columns' numbers; one damaged number makes no header."""
    return not any(map(_is_number, cells)) or list(cells) == [str(i) for i in range(len(cells))]


def _is_number(cell: str) -> bool:
    try:
        number(cell)
    except ValueError:
        return False
    return True
