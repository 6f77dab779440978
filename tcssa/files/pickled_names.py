"""Builders for the names in pickles of plain data and NumPy arrays.

No array is made whose elements are objects or records, and none whose bytes do not fill its shape.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tcssa.files.boundary import UnsoundError
from tcssa.files.pickled import Known, Shell

_DTYPE = re.compile(r"b1|[iu][1248]|f[248]")
_BYTE_ORDERS = ("<", ">", "|", "=")
_OBJECTS, _OBJECT_FLAGS = "O8", 63
MAX_DIMENSIONS = 32
_MOST_OF_PATH = 2**15


def array_names(module: str, name: str) -> Known | None:
    """Find the builder for a name.

    Args:
        module: Module that the pickle names.
        name: Name in that module.

    Returns:
        The builder; None if the name is no plain data and no part of an array.
    """
    return _KNOWN.get((module, name))


def plain_dtype(code: str, byte_order: str = "=") -> np.dtype[Any]:
    """Make the type of an array's elements: a truth value, whole or floating-point number.

    Args:
        code: Kind and bytes, as ``f4``.
        byte_order: NumPy's mark: ``<``, ``>``, ``|`` or ``=``.

    Raises:
        UnsoundError: The code is of another type, or the byte order is not known.
    """
    if not _DTYPE.fullmatch(code) or byte_order not in _BYTE_ORDERS:
        raise UnsoundError(f"its elements are of type {code!r:.40}, not plain numbers")
    return np.dtype(byte_order + code)


def num_elements(shape: Any) -> int:
    """Count the elements of a shape that stands in a file.

    Raises:
        UnsoundError: The shape is no tuple of lengths, or has too many of them.
    """
    if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS:
        raise UnsoundError("an array's shape is no tuple of lengths")
    if not all(type(length) is int and 0 <= length < 2**63 for length in shape):
        raise UnsoundError("an array's shape is no tuple of lengths")
    return math.prod(shape)


def checked_array(data: Any, dtype: Any, shape: Any, *, is_fortran: bool) -> NDArray[Any]:
    """Make an array, in the machine's byte order, of bytes that must fill it.

    Args:
        data: The bytes of its elements.
        dtype: The type of its elements.
        shape: Its shape, as the file states it.
        is_fortran: Whether the elements are in Fortran order.

    Returns:
        The array; it cannot be written to, unless its byte order was changed.

    Raises:
        UnsoundError: The bytes do not fill the array, a truth value is neither 0 nor 1, or an
            argument is of another type.
    """
    if not isinstance(data, bytes) or not isinstance(dtype, np.dtype):
        raise UnsoundError("an array of the pickle is damaged")
    if num_elements(shape) * dtype.itemsize != len(data):
        raise UnsoundError(f"an array of {list(shape)} of {dtype} has {len(data)} bytes")
    require_truth_values(np.frombuffer(data, np.uint8) if dtype.kind == "b" else None)
    order: Literal["C", "F"] = "F" if is_fortran else "C"
    array: NDArray[Any] = np.ndarray(shape, dtype, data, order=order)
    return array.astype(dtype.newbyteorder("="), copy=False)  # as NumPy does when it unpickles


def require_truth_values(raw: NDArray[np.uint8] | None) -> None:
    """Require the bytes of truth values to be 0 or 1; the meaning of others is undefined.

    Raises:
        UnsoundError: A byte is neither 0 nor 1.
    """
    if raw is not None and raw.size and raw.max() > 1:
        raise UnsoundError("a truth value is neither 0 nor 1")


def _make_dtype(code: Any, *_: Any) -> Shell:
    if not isinstance(code, str):
        raise UnsoundError("the type of an array's elements is no text")
    if code != _OBJECTS:
        plain_dtype(code)

    def fill(state: Any) -> Any:
        version, byte_order, *more = state
        if version != 3 or byte_order not in _BYTE_ORDERS:
            raise UnsoundError("the type of an array's elements is damaged")
        # subarray, names, fields; size and alignment, where it is no built-in type; flags
        if more != [None, None, None, -1, -1, _OBJECT_FLAGS if code == _OBJECTS else 0]:
            raise UnsoundError("an array's elements are records, not plain numbers")
        return _OBJECTS if code == _OBJECTS else plain_dtype(code, byte_order)

    return Shell(fill)


def _make_array(kind: Any, shape: Any, code: Any) -> Shell:
    if kind is not _NDARRAY or shape != (0,) or _raw(code) != b"b":
        raise UnsoundError("an array of the pickle is damaged")

    def fill(state: Any) -> Any:
        version, shape, dtype, is_fortran, data = state
        if version != 1 or type(is_fortran) not in (bool, int) or is_fortran not in (0, 1):
            raise UnsoundError("an array of the pickle is damaged")
        if not (isinstance(dtype, str) and dtype == _OBJECTS):
            return checked_array(_raw(data), dtype, shape, is_fortran=bool(is_fortran))
        if not isinstance(data, list) or num_elements(shape) != len(data):
            raise UnsoundError("an array of objects is damaged")
        return data  # a list of the objects says all that is needed, and can be no bad pointer

    return Shell(fill)


def _make_array_of_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    return checked_array(data, dtype, shape, is_fortran=order == "F")


def _make_scalar(dtype: Any, data: Any) -> Any:
    return checked_array(_raw(data), dtype, (1,), is_fortran=False)[0]


def _raw(data: Any) -> Any:
    """Return bytes, which Python 2 wrote as text."""
    return data.encode("latin-1") if isinstance(data, str) else data


def _make_bytes(text: Any, encoding: Any) -> bytes:
    """Make the bytes that protocols before 3 write as text of the encoding latin1."""
    if not isinstance(text, str) or encoding != "latin1":
        raise UnsoundError("bytes of the pickle are damaged")
    return text.encode("latin-1")


def _make_complex(real: Any, imaginary: Any) -> complex:
    if type(real) is not float or type(imaginary) is not float:
        raise UnsoundError("a complex number of the pickle is damaged")
    return complex(real, imaginary)


def _make_namespace() -> Shell:
    def fill(state: Any) -> Any:
        if not isinstance(state, dict):
            raise UnsoundError("the fields of a namespace are no dict")
        return state

    return Shell(fill)


def _make_path(kind: type[PurePath]) -> Callable[..., str]:
    def build(*parts: Any) -> str:
        if not all(isinstance(part, str) for part in parts):
            raise UnsoundError("a path of the pickle is no text")
        if sum(map(len, parts)) > _MOST_OF_PATH:  # slashes take time and leave nothing to count
            raise UnsoundError("a path of the pickle is longer than any")
        return str(kind(*parts))

    return build


def _table() -> dict[tuple[str, str], Known]:
    builders: dict[tuple[str, str], Callable[..., Any]] = {
        ("collections", "OrderedDict"): lambda: OrderedDict(),
        ("_codecs", "encode"): _make_bytes,
        ("__builtin__", "bytes"): lambda: b"",
        ("builtins", "bytes"): lambda: b"",
        ("__builtin__", "complex"): _make_complex,
        ("builtins", "complex"): _make_complex,
        ("argparse", "Namespace"): _make_namespace,
        ("numpy", "dtype"): _make_dtype,
    }
    for core in ("numpy.core", "numpy._core"):
        builders |= {
            (f"{core}.multiarray", "_reconstruct"): _make_array,
            (f"{core}.multiarray", "scalar"): _make_scalar,
            (f"{core}.numeric", "_frombuffer"): _make_array_of_buffer,
        }
    for home in ("pathlib", "pathlib._local"):
        for kind in (PurePosixPath, PureWindowsPath):
            for name in (kind.__name__, kind.__name__.removeprefix("Pure")):
                builders[home, name] = _make_path(kind)
    table = {key: Known(".".join(key), build) for key, build in builders.items()}
    return table | {("numpy", "ndarray"): _NDARRAY}


def refuse_call(*_: Any) -> Any:
    """Stand for a class that pickles name and never call themselves."""
    raise UnsoundError("the pickle calls what is no function")


_NDARRAY = Known("numpy.ndarray", refuse_call)
_KNOWN = _table()
