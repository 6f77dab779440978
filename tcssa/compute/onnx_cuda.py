"""Starting ONNX Runtime on CUDA."""

from __future__ import annotations

import io
from contextlib import redirect_stdout


def preload_cuda() -> None:
    """Look for the CUDA libraries in torch's and NVIDIA's wheels, without printing.

    `onnxruntime.preload_dlls` prints to stdout, which is for data alone.
    """
    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls"):
        with redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()
