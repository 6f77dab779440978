"""safetensors files, behind the boundary."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from tcssa.errors import FileError
from tcssa.files.boundary import UnsoundError, reading, require_file

_DTYPES = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint64, torch.uint32, torch.uint16, torch.uint8),
}


def read_safetensors(
    path: Path, error: type[FileError]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: tensors of plain numbers by name, and its metadata.

    Args:
        path: The file.
        error: Type of the error to raise.

    Returns:
        The tensors by name, and the metadata.

    Raises:
        FileError: Of the type ``error``; the file cannot be read, or holds numbers of an unusual
            type.
    """
    require_file(path, error)
    with reading(path, error), safe_open(path, framework="pt") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        for name, tensor in tensors.items():
            if tensor.dtype not in _DTYPES:
                raise UnsoundError(f"{name!r:.60} holds {str(tensor.dtype)[6:]}, no plain numbers")
        return tensors, stream.metadata() or {}
