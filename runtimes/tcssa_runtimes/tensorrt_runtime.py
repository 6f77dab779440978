"""Engines of TensorRT and of TensorRT-RTX.

Not yet run on a GPU: this file was written from the documentation of both, and tests run it only
where there is a CUDA device. Without one nothing of TensorRT is created, since its runtime then
fails in ways that Python cannot catch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.artefact import Artefact
from tcssa.errors import ArtefactError, DeviceError
from tcssa.optional import require
from tcssa_runtimes.base import Features, Runtime, RuntimeOutput
from tcssa_runtimes.facts import ModelFacts

_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


class TensorRTRuntime(Runtime):
    """Runs an engine on a CUDA device, with torch's tensors as its buffers.

    Args:
        folder: The artefact's folder.
        artefact: What it says.
    """

    def __init__(self, folder: Path, artefact: Artefact) -> None:
        super().__init__(ModelFacts.of_artefact(folder, artefact), f"{artefact.format} (cuda)")
        self._folder = folder
        self._artefact = artefact
        self._logger: Any = None  # TensorRT has no types
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._stream: Any = None

    def _open(self) -> None:
        import torch

        if not torch.cuda.is_available():
            raise DeviceError(
                "no CUDA device: a TensorRT engine runs nowhere else",
                hint="export with --format onnx to run on the CPU",
            )
        self._check_target("sm{}{}".format(*torch.cuda.get_device_capability()))
        trt = require(_MODULES[self._artefact.format], self._artefact.format)
        self._check_version(trt.__name__, str(trt.__version__))
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        plan = (self._folder / self._artefact.model_file).read_bytes()
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise ArtefactError(
                self._folder,
                f"{trt.__name__} {trt.__version__} cannot load the engine",
                hint="export it again on this machine",
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise DeviceError(
                "the GPU's memory is too small for this engine",
                hint="export again with smaller --max-patches or --max-batch",
            )
        # TensorRT synchronises on the default stream
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's gap

    def _close(self) -> None:
        # in this order: each needs the one after it
        self._context = None
        self._engine = None
        self._runtime = None
        self._logger = None
        self._stream = None

    def _run(self, features: Features, lengths: NDArray[np.int64]) -> RuntimeOutput:
        import torch

        dtypes = {"float32": torch.float32, "int64": torch.int64}
        with torch.cuda.stream(self._stream):
            buffers = {
                "features": torch.from_numpy(features).cuda(),
                "lengths": torch.from_numpy(lengths).cuda(),
            }
            for name, tensor in buffers.items():
                self._context.set_input_shape(name, tuple(tensor.shape))
            for output in self._artefact.outputs:
                shape = tuple(self._context.get_tensor_shape(output.name))
                buffers[output.name] = torch.empty(shape, dtype=dtypes[output.dtype], device="cuda")
            for name, tensor in buffers.items():
                self._context.set_tensor_address(name, tensor.data_ptr())
            if not self._context.execute_async_v3(self._stream.cuda_stream):
                raise DeviceError(f"the engine of {self._folder} failed to run")
            self._stream.synchronize()
            names = [output.name for output in self._artefact.outputs]
            return RuntimeOutput(**{name: buffers[name].cpu().numpy() for name in names})

    def _check_target(self, here: str) -> None:
        if self._artefact.gpu_target not in (None, here):
            raise ArtefactError(
                self._folder,
                f"the engine was built for {self._artefact.gpu_target}, this GPU is {here}",
                hint=f"export it again with --target {here}",
            )

    def _check_version(self, module: str, installed: str) -> None:
        built = self._artefact.tools.get(module)
        if built != installed:
            raise ArtefactError(
                self._folder,
                f"the engine was built with {module} {built}, installed is {installed}",
                hint=f"export it again, or pip install {module.replace('_', '-')}=={built}",
            )
