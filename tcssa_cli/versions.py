"""Versions of the packages that matter, read without importing any of them."""

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
    """Return the versions of Python and of the installed packages that matter, by name."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    found["python"] = platform.python_version()
    return found
