"""NumPy's ``.npy`` files, checked before memory is taken.

The header is matched as text: NumPy reads it as a Python expression, whose parser runs out of stack
on a few kilobytes. Files of objects are pickles, and are read by `tcssa.files.pickled`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FileError
from tcssa.files.boundary import UnsoundError, reading, require_file
from tcssa.files.pickled import Names, PickleReader, Window
from tcssa.files.pickled_names import array_names, num_elements, plain_dtype

_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {b"\1\0": 2, b"\2\0": 4, b"\3\0": 4}
"""Bytes of the header's length, by version of the format."""
_MAX_HEADER_BYTES = 10_000
_ITEM = (
    r"""['"](descr|fortran_order|shape)['"]\s*:\s*"""
    r"""(?:['"]([<>|=]?)([A-Za-z]\d*)['"]|(True|False)|\(([\dL,\s]*)\))"""
)
_HEADER = re.compile(rf"\{{\s*{_ITEM}\s*,\s*{_ITEM}\s*,\s*{_ITEM}\s*,?\s*\}}\s*", re.ASCII)
_SAVE_PLAINLY = "save the features as a plain array: np.save(file, features)"


def read_npy(path: Path, error: type[FileError]) -> NDArray[Any] | Any:
    """Read a ``.npy`` file.

    Args:
        path: The file.
        error: Type of the error to raise.

    Returns:
        An array of numbers, which is read from the disk only where it is sliced; or, of a file of
        objects, the list of them as plain data.

    Raises:
        FileError: Of the type ``error``; the file cannot be read, is cut short, continues behind
            its array, or holds more than data.
    """
    size = require_file(path, error)
    with reading(path, error), path.open("rb") as stream:
        byte_order, code, is_fortran, shape = _read_header(stream)
        if code in ("O", "O8"):
            return _read_objects(stream, path, error, size)
        dtype = plain_dtype(code, byte_order or "=")
        begin = stream.tell()
        claimed, found = num_elements(shape) * dtype.itemsize, size - begin
        if claimed != found:
            raise UnsoundError(f"holds {found:,} bytes of numbers, its header says {claimed:,}")
        order = "F" if is_fortran else "C"
        if not claimed:  # nothing cannot be mapped
            return np.empty(shape, dtype, order)  # type: ignore[call-overload]  # a union of both
        return np.memmap(stream, dtype, "r", begin, shape, order)  # type: ignore[call-overload]


def _read_header(stream: IO[bytes]) -> tuple[str, str, bool, tuple[int, ...]]:
    """Read byte order, element code, whether columns come first, and the shape."""
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise UnsoundError("is not a NumPy file; nothing in it was loaded")
    width = _LENGTH_BYTES.get(stream.read(2))
    if width is None:
        raise UnsoundError("is of a version of NumPy's format that is not known")
    length = int.from_bytes(stream.read(width), "little")
    header = stream.read(min(length, _MAX_HEADER_BYTES)).decode("latin-1")
    match = _HEADER.fullmatch(header)
    # with both kinds of quotes, one that opens a text may not be the one that ends it
    if match is None or len(header) != length or {"'", '"'} <= set(header):
        raise UnsoundError("its header tells of no plain array")
    groups = match.groups()
    items = {groups[at]: groups[at + 1 : at + 5] for at in range(0, len(groups), 5)}
    try:
        byte_order, code, _, _ = items["descr"]
        order = items["fortran_order"][2]
        lengths = items["shape"][3].replace("L", "").split(",")
    except (KeyError, AttributeError):
        raise UnsoundError("its header tells of no plain array") from None
    if code is None or order is None:
        raise UnsoundError("its header tells of no plain array")
    shape = tuple(int(each) for each in lengths if each.strip())
    return byte_order, code, order == "True", shape


class _ObjectNames:
    """Names of plain data, arrays and tensors; torch is imported only where the file names it."""

    def __init__(self, path: Path, error: type[FileError]) -> None:
        self.leaves: tuple[type, ...] = ()
        self._path, self._error = path, error
        self._torch_names: Names | None = None

    def __call__(self, module: str, name: str, /) -> Any:
        if module.partition(".")[0] != "torch":
            return array_names(module, name)
        if self._torch_names is None:
            from tcssa.files.torch_file import names_with_torch_files

            self._torch_names = names_with_torch_files(self._path, self._error)
            self.leaves = self._torch_names.leaves
        return self._torch_names(module, name)


def _read_objects(stream: IO[bytes], path: Path, error: type[FileError], size: int) -> Any:
    """Read the pickle of a file of objects; NumPy pickles the array, and so the list of them."""
    reader = PickleReader(path, error, size, _ObjectNames(path, error), hint=_SAVE_PLAINLY)
    content = reader.read(Window(stream, size))
    if stream.tell() != size:
        raise UnsoundError("goes on behind its pickle")
    return content
