"""Comparing what readers return: arrays to the bit, everything else by its text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel


def digest(data: Any) -> str:
    """Hash plain data, arrays and tensors, so that equal data gives equal text."""
    hashed = hashlib.sha256()
    for part in _parts(data):
        hashed.update(part)
        hashed.update(b"\0")
    return hashed.hexdigest()[:16]


def same_numbers(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Say whether two arrays are equal to the bit, whatever the order of their bytes."""
    if one.shape != other.shape or one.dtype.newbyteorder("=") != other.dtype.newbyteorder("="):
        return False
    plain = one.dtype.newbyteorder("=")
    return one.astype(plain).tobytes() == other.astype(plain).tobytes()


def _parts(data: Any) -> Iterator[bytes]:
    if isinstance(data, BaseModel):
        data = data.model_dump()
    elif is_dataclass(data) and not isinstance(data, type):
        data = {field.name: getattr(data, field.name) for field in fields(data)}
    if hasattr(data, "detach"):  # a tensor; torch is not imported for files without any
        data = data.detach().float().numpy() if "bfloat16" in str(data.dtype) else data.numpy()
    if isinstance(data, np.ndarray):
        yield f"{data.dtype} {data.shape}".encode()
        yield np.ascontiguousarray(data).tobytes()
    elif isinstance(data, Mapping):
        for name in sorted(data, key=repr):
            yield repr(name).encode()
            yield from _parts(data[name])
    elif isinstance(data, Sequence) and not isinstance(data, str | bytes):
        yield f"[{len(data)}".encode()
        for each in data:
            yield from _parts(each)
    elif isinstance(data, Path):  # where the file lies is no part of its content
        yield data.name.encode()
    else:
        yield repr(data).encode()
