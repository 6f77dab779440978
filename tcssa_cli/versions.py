"""Versions of what matters, read without importing any of it."""

from __future__ import annotations

import platform
from importlib import metadata

_PACKAGES = (
    "tcssa",
    "torch",
    "onnx",
    "onnxruntime-gpu",
    "onnxruntime",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "openslide-python",
    "openslide-bin",
    "h5py",
    "numpy",
)


def versions() -> dict[str, str]:
    """Name and version of tcssa, Python and the installed packages of those that matter."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    found["python"] = platform.python_version()
    return found
