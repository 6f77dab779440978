"""The tools that made an export, with their versions."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from tcssa.version import __version__


def tool_versions() -> dict[str, str]:
    """Return the versions of tcssa and of the packages it traces and compares with."""
    import onnxruntime

    tools = {"tcssa": __version__}
    for package in ("torch", "onnx", "onnxscript"):
        try:
            tools[package] = version(package)
        except PackageNotFoundError:  # a build from source without metadata
            tools[package] = "unknown"
    return {**tools, "onnxruntime": onnxruntime.__version__}
