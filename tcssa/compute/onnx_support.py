"""ONNX without chatter: tracing torch modules, and starting ONNX Runtime on CUDA."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence what torch's exporter says on every call and nobody can act on.

    It logs a line for each torchvision operator it misses, and meets deprecated names of torch's
    own.
    """
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def preload_cuda() -> None:
    """Look for the CUDA libraries in torch's and NVIDIA's wheels, without printing.

    `onnxruntime.preload_dlls` prints to stdout, which is for data alone.
    """
    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls"):
        with redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()
