"""An encoder that runs in ONNX Runtime, on a CPU ten times as fast as eager torch."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tcssa.compute.devices import num_cores
from tcssa.compute.onnx_support import preload_cuda
from tcssa.encoders.base import Device
from tcssa.encoders.onnx_export import INPUT_NAME, OUTPUT_NAME, cached_onnx
from tcssa.errors import DeviceError

if TYPE_CHECKING:
    from torch import nn

_CPU_BATCH, _CUDA_BATCH = 4, 128  # on a CPU larger batches fall out of its caches
_CUDA = "CUDAExecutionProvider"
_CUDA_OPTIONS = {
    "use_tf32": "0",  # features agree with the CPU's
    "cudnn_conv_algo_search": "HEURISTIC",  # a slide's last, smaller batch is not tuned anew
}
_log = logging.getLogger(__name__)


class OnnxEncoder:
    """See `tcssa.encoders.base.Encoder`.

    Args:
        name: The encoder's name.
        feature_dim: Length of a feature, D.
        input_px: Side of the patches, in pixels.
        weights_hash: Hash of the weights.
        build: Builds the torch module if its ONNX model is not in the cache.
        device: Where to run.

    Raises:
        DeviceError: ``device`` is ``cuda`` and CUDA is not available.
    """

    def __init__(
        self,
        name: str,
        *,
        feature_dim: int,
        input_px: int,
        weights_hash: str,
        build: Callable[[], nn.Module],
        device: Device = "auto",
    ) -> None:
        self.name, self.weights_hash = name, weights_hash
        self.feature_dim, self.input_px = feature_dim, input_px
        if device == "cuda":
            require_cuda()
        model = cached_onnx(name, weights_hash, input_px, build)
        self._session, self.device = open_session(model, device)
        self.batch_size = usual_batch(self.device)
        self.calls_at_once = calls_at_once(self.device)

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode RGB patches ``[b, input_px, input_px, 3]`` into features ``[b, d]``."""
        (features,) = self._session.run([OUTPUT_NAME], {INPUT_NAME: patches})
        result: NDArray[np.float32] = features
        return result


def open_session(model: bytes | str, device: Device) -> tuple[Any, str]:
    """Open a session of an ONNX model.

    Args:
        model: The model's bytes, or the path of its file.
        device: Where to run; ``auto`` falls back to the CPU.

    Returns:
        The session, and the device it actually runs on: ``cpu`` or ``cuda``.

    Raises:
        DeviceError: ``device`` is ``cuda`` and ONNX Runtime could not start its CUDA provider.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, and told by whoever opens the session
    # On a CPU every call has one core, and there are as many calls as cores: their threads never
    # wait for one another, nor for the core of a thread that decodes patches.
    options.intra_op_num_threads = 1
    if device != "cpu" and _has_cuda():
        preload_cuda()
        session = onnxruntime.InferenceSession(
            model, options, providers=[(_CUDA, _CUDA_OPTIONS), "CPUExecutionProvider"]
        )
        if _CUDA in session.get_providers():  # ONNX Runtime itself falls back without an error
            return session, "cuda"
        if device == "cuda":
            raise DeviceError(
                "ONNX Runtime could not start its CUDA provider",
                hint="install the CUDA and cuDNN that this onnxruntime-gpu needs, "
                "or use --device cpu",
            )
        _log.warning("there is a GPU, but ONNX Runtime cannot use it: encoding on the CPU")
        return session, "cpu"
    on_cpu = ["CPUExecutionProvider"]
    # a fallback from the CPU to the CPU would only print
    session = onnxruntime.InferenceSession(model, options, providers=on_cpu, enable_fallback=0)
    return session, "cpu"


def usual_batch(device: str) -> int:
    """Return the number of patches per call that is fastest."""
    return _CUDA_BATCH if device == "cuda" else _CPU_BATCH


def calls_at_once(device: str) -> int:
    """Return the number of concurrent calls of a session that keep its device busy."""
    return 1 if device == "cuda" else num_cores()


def require_cuda() -> None:
    """Raise unless ONNX Runtime may find a GPU.

    Raises:
        DeviceError: There is no CUDA driver, or ONNX Runtime has no CUDA provider.
    """
    if not _has_cuda():
        raise DeviceError(
            "device cuda was asked for, but there is no CUDA driver here, or ONNX Runtime lacks it",
            hint="use --device cpu, or pip install onnxruntime-gpu on a machine with a GPU",
        )


def _has_cuda() -> bool:
    """Tell whether CUDA is worth a try: without a driver ONNX Runtime only prints errors."""
    import onnxruntime

    if _CUDA not in onnxruntime.get_available_providers():
        return False
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
