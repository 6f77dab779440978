"""ONNX Runtime, on the CPU or with its CUDA provider."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.artefact import Artefact
from tcssa.errors import ArtefactError, DeviceError
from tcssa.onnx_cuda import preload_cuda
from tcssa_runtimes.base import Features, Runtime, RuntimeOutput
from tcssa_runtimes.facts import ModelFacts

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_WARNING, _FATAL = 2, 4


class OnnxRuntime(Runtime):
    """Runs an ONNX artefact.

    Args:
        folder: The artefact's folder.
        artefact: What it says.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, folder: Path, artefact: Artefact, device: str) -> None:
        super().__init__(ModelFacts.of_artefact(folder, artefact), f"onnx ({device})")
        self._file = folder / artefact.model_file
        self._output_names = [output.name for output in artefact.outputs]
        self._device = device
        self._session: Any = None  # onnxruntime has no types

    def _open(self) -> None:
        import onnxruntime as ort

        wanted = _PROVIDERS[self._device]
        if wanted not in ort.get_available_providers():
            raise DeviceError(
                "this onnxruntime is built without CUDA",
                hint="pip install onnxruntime-gpu, or use --device cpu",
            )
        try:
            with _quiet_start(ort, on_cuda=self._device == "cuda"):
                session = ort.InferenceSession(str(self._file), providers=[wanted])
        except Exception as error:  # its error classes share no narrower base
            reason = " ".join(str(error).split())[:300]
            raise ArtefactError(self._file, f"ONNX Runtime cannot load it ({reason})") from error
        # onnxruntime-gpu offers CUDA on machines without it and then runs on the CPU in silence
        if wanted not in session.get_providers():
            raise DeviceError(
                "no CUDA device: ONNX Runtime could not start its CUDA provider",
                hint="check the driver, CUDA and cuDNN with tcssa doctor, or use --device cpu",
            )
        self._session = session

    def _close(self) -> None:
        self._session = None

    def _run(self, features: Features, lengths: NDArray[np.int64]) -> RuntimeOutput:
        feed = {"features": features, "lengths": lengths}
        values = self._session.run(self._output_names, feed)
        return RuntimeOutput(**dict(zip(self._output_names, values, strict=True)))


@contextmanager
def _quiet_start(ort: Any, *, on_cuda: bool) -> Iterator[None]:  # onnxruntime has no types
    """Keep a provider's complaints to itself while a session starts: the errors are ours."""
    ort.set_default_logger_severity(_FATAL)
    try:
        if on_cuda:
            preload_cuda()
        yield
    finally:
        ort.set_default_logger_severity(_WARNING)
