"""A torch encoder as the bytes of an ONNX model, exported once and kept in a cache.

Exporting and importing torch take seconds each; with the file in the cache neither is needed.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tcssa.compute.onnx_support import quiet_exporter
from tcssa.errors import UsageError
from tcssa.files import atomic
from tcssa.files.cache_folder import cache_folder, keep_within, one_process
from tcssa.files.checksums import params_hash
from tcssa.version import __version__

if TYPE_CHECKING:
    from torch import nn

INPUT_NAME, OUTPUT_NAME = "patches", "features"

_OPSET = 20
_SUFFIX = ".onnx-sha256"
_DEFAULT_GB = 20.0
_DIGEST_BYTES = hashlib.sha256().digest_size
_log = logging.getLogger(__name__)


def cached_onnx(
    name: str, weights_hash: str, input_px: int, build: Callable[[], nn.Module]
) -> bytes:
    """Return the ONNX model of an encoder, from the cache if an intact file is there.

    Args:
        name: The encoder's name, with which the file name begins.
        weights_hash: Hash of the weights; each has a file of its own.
        input_px: Side of the patches, in pixels.
        build: Builds the torch module; called only if the model must be exported.

    Returns:
        The model's bytes.
    """
    key = params_hash(
        {
            "weights": weights_hash,
            "input_px": input_px,
            "opset": _OPSET,
            "torch": version("torch"),
            "tcssa": __version__,
        }
    )
    path = cache_folder() / f"{name}-{key}{_SUFFIX}"
    model = _read_whole(path)
    if model is not None:
        return model
    with one_process(path.name, f"exports {name}", _log.warning):
        model = _read_whole(path)  # another process may have made it
        if model is not None:
            return model
        model = export_onnx(build(), input_px)
        try:
            atomic.write_bytes(path, model + hashlib.sha256(model).digest())
        except OSError as error:  # a read-only home must not stop an extraction
            where, why = path.parent, error.strerror
            _log.warning("the exported encoder cannot be kept in %s (%s)", where, why)
        keep_within(path.parent.glob(f"*{_SUFFIX}"), _most_bytes(), path)
    return model


def _most_bytes() -> float:
    """Return the size that exported encoders may have together.

    Raises:
        UsageError: The variable is no number of GB.
    """
    said = os.environ.get("TCSSA_CACHE_GB", "")
    try:
        size = float(said) if said else _DEFAULT_GB
        if not 0 <= size < math.inf:
            raise ValueError
    except ValueError:
        raise UsageError(f"TCSSA_CACHE_GB={said} is no number of GB") from None
    return size * 1e9


def export_onnx(module: nn.Module, input_px: int) -> bytes:
    """Export an encoder to ONNX, with a dynamic batch size b.

    Args:
        module: The encoder, from uint8 ``[b, px, px, 3]`` to float32 ``[b, d]``.
        input_px: Side of the patches, in pixels.

    Returns:
        The model's bytes.
    """
    import torch

    example = torch.zeros(2, input_px, input_px, 3, dtype=torch.uint8)
    with quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=_OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            verbose=False,
        )
    assert program is not None  # only the old exporter, dynamo=False, returns nothing
    content: bytes = program.model_proto.SerializeToString()
    return content


def _read_whole(path: Path) -> bytes | None:
    """Read a model from the cache; None if its digest does not match, so that it is made again."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):  # the time of its last use, for `keep_within`
        os.utime(path)
    model, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    return model if model and hashlib.sha256(model).digest() == digest else None
