"""Builders for the names in pickles of torch tensors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from tcssa.files.boundary import UnsoundError
from tcssa.files.pickled import Known
from tcssa.files.pickled_names import array_names, num_elements, refuse_call, require_truth_values

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
_DTYPES = {*_STORAGES.values(), torch.uint16, torch.uint32, torch.uint64}


class Storage:
    """The numbers that tensors of a file are views of.

    Args:
        dtype: Type of the numbers.
        num_elements: How many there are; the caller has checked that the file holds them.
    """

    def __init__(self, dtype: torch.dtype, num_elements: int) -> None:
        self.numbers = torch.empty(num_elements, dtype=dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers."""
        return self.numbers.nbytes

    def fill(self, read_into: Callable[[memoryview], None], *, swapped: bool = False) -> None:
        """Let the bytes of the storage be written.

        Args:
            read_into: Fills the memory that it is given.
            swapped: Whether the bytes of each number are in the order of another machine.

        Raises:
            UnsoundError: A truth value is neither 0 nor 1.
        """
        raw = self.numbers.view(torch.uint8).numpy()
        read_into(memoryview(raw))  # type: ignore[arg-type]  # numpy types no buffers before Python 3.12
        width = self.numbers.itemsize
        if swapped and width > 1:
            raw.view(f"u{width}").byteswap(inplace=True)
        require_truth_values(raw if self.numbers.dtype == torch.bool else None)


class TorchNames:
    """Names of plain data, arrays and tensors.

    Args:
        more: Further names, with what stands for each; None adds none.
    """

    leaves: tuple[type, ...] = (Tensor, torch.dtype)

    def __init__(self, more: dict[tuple[str, str], Any] | None = None) -> None:
        self._more = more or {}

    def __call__(self, module: str, name: str, /) -> Any:
        """Return the builder or value that stands for a name; None if it is no data."""
        key = (module, name)
        return self._more.get(key) or _table().get(key) or array_names(module, name)


def storage_dtype(known: Any) -> torch.dtype:
    """Return the type of a storage's numbers, from the class that a pickle names.

    Raises:
        UnsoundError: The name is no class of storages.
    """
    dtype = _STORAGES.get(known.name.rpartition(".")[2]) if isinstance(known, Known) else None
    if dtype is None:
        raise UnsoundError("a tensor's storage is damaged")
    return dtype


def _make_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """View a storage as a tensor whose first and last element lie within it."""
    if not isinstance(storage, Storage):
        raise UnsoundError("a tensor's storage is damaged")
    return _view(storage.numbers, offset, size, stride)


def _make_tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, metadata: Any = None
) -> Tensor:
    _require_usual(grad, hooks, metadata)
    return _make_tensor(storage, offset, size, stride)


def _make_tensor_v3(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Tensor:
    """View a storage as numbers of another type.

    Truth values are none of them, and have storages of their own: in the legacy form the bytes are
    not there yet, and could not be checked.
    """
    _require_usual(grad, hooks, metadata)
    if not isinstance(storage, Storage) or dtype not in _DTYPES or dtype == torch.bool:
        raise UnsoundError("a tensor's storage is damaged")
    return _view(storage.numbers.view(dtype), offset, size, stride)


def _require_usual(grad: Any, hooks: Any, metadata: Any = None) -> None:
    """Require what torch writes behind the numbers, none of which is needed."""
    if type(grad) is not bool or not isinstance(hooks, OrderedDict):
        raise UnsoundError("a tensor is damaged")
    if metadata:  # numbers that count as conjugated or negated
        raise UnsoundError("a tensor stands for other numbers than it holds")


def _make_parameter(tensor: Any, grad: Any, hooks: Any, state: Any = None) -> Tensor:
    """Take a parameter's tensor; attributes are left out."""
    _require_usual(grad, hooks)
    if not isinstance(tensor, Tensor):
        raise UnsoundError("a parameter is no tensor")
    return tensor


def _view(numbers: Tensor, offset: Any, size: Any, stride: Any) -> Tensor:
    num_elements(stride)
    count = num_elements(size)
    if type(offset) is not int or offset < 0 or len(size) != len(stride):
        raise UnsoundError("a tensor's place in its storage is damaged")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if count and last >= len(numbers):
        raise UnsoundError(f"a tensor of {list(size)} reaches beyond its storage")
    return torch.as_strided(numbers, size, stride, offset if count else 0)


def _make_subclass(known: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """Rebuild a tensor that had attributes; they are left out."""
    if not isinstance(known, Known) or not known.name.startswith("torch._utils._rebuild_"):
        raise UnsoundError("a tensor is damaged")
    return known.build(*arguments)


def _make_size(lengths: Any = ()) -> tuple[int, ...]:
    num_elements(lengths)
    return tuple(lengths)


def _make_device(kind: Any, index: Any = None) -> str:
    """Return a device's name; whether there is such a device is not checked."""
    if not isinstance(kind, str) or not (index is None or type(index) is int):
        raise UnsoundError("a device's name is damaged")
    return kind if index is None else f"{kind}:{index}"


@cache
def _table() -> dict[tuple[str, str], Any]:
    builders: dict[tuple[str, str], Callable[..., Any]] = {
        ("torch._utils", "_rebuild_tensor"): _make_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _make_tensor_v2,
        ("torch._utils", "_rebuild_tensor_v3"): _make_tensor_v3,
        ("torch._utils", "_rebuild_parameter"): _make_parameter,
        ("torch._utils", "_rebuild_parameter_with_state"): _make_parameter,
        ("torch._tensor", "_rebuild_from_type_v2"): _make_subclass,
        ("torch", "Size"): _make_size,
        ("torch", "device"): _make_device,
        ("torch", "Tensor"): refuse_call,
        ("torch.nn.parameter", "Parameter"): refuse_call,
        ("torch.storage", "UntypedStorage"): refuse_call,
    }
    builders |= {("torch", name): refuse_call for name in _STORAGES}
    table: dict[tuple[str, str], Any] = {
        key: Known(".".join(key), build) for key, build in builders.items()
    }
    return table | {("torch", str(dtype)[6:]): dtype for dtype in _DTYPES}
