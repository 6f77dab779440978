"""Engines of TensorRT and of TensorRT-RTX.

Not yet run on a GPU: this file was written from the documentation of both, and tests run it only
where there is a CUDA device. Without one no TensorRT object is created, since its runtime then
fails in ways that Python cannot catch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcssa.artefact import Artefact, TensorSpec
from tcssa.errors import ArtefactError, DeviceError
from tcssa.files.boundary import reading
from tcssa.optional import require
from tcssa_runtimes.backends.artefact_runtime import Arrays, ArtefactRuntime, chunk_sums
from tcssa_runtimes.contract.chunks import Features
from tcssa_runtimes.contract.launch import Launch
from tcssa_runtimes.contract.model_info import ModelFacts
from tcssa_runtimes.contract.slide_sums import ChunkSums

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from tcssa_runtimes.backends.launch_buffers import LaunchBuffers

_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


class TensorRTRuntime(ArtefactRuntime):
    """Runs an artefact's engines on a CUDA device, with torch tensors as their buffers.

    Args:
        folder: The artefact's folder.
        artefact: Its manifest.
    """

    def __init__(self, folder: Path, artefact: Artefact) -> None:
        super().__init__(ModelFacts.of_artefact(folder, artefact), f"{artefact.format} (cuda)")
        self._folder = folder
        self._artefact = artefact
        self._logger: Any = None  # TensorRT has no types
        self._runtime: Any = None
        self._engines: dict[str, Any] = {}
        self._contexts: dict[str, Any] = {}
        self._stream: Any = None
        self._ring: Iterator[LaunchBuffers] | None = None
        if self.facts.chunk_patches is not None:
            self.launches_at_once = 2
            self.chunk_dtypes = frozenset({"float16", "float32"})  # its buffers widen halves

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
        for name, model in self._artefact.models.items():
            path = self._folder / model.file
            with reading(path, ArtefactError):
                engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
            if engine is None:
                raise ArtefactError(
                    path,
                    f"{trt.__name__} {trt.__version__} cannot load the engine",
                    hint="export it again on this machine",
                )
            self._engines[name] = engine
            self._contexts[name] = self._context(name)
        # TensorRT synchronises on the default stream
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's gap

    def _close(self) -> None:
        # in this order: each needs the one after it
        self._ring = None
        self._contexts = {}
        self._engines = {}
        self._runtime = None
        self._logger = None
        self._stream = None

    def _context(self, graph: str) -> Any:  # TensorRT has no types
        context = self._engines[graph].create_execution_context()
        if context is None:
            raise DeviceError(
                f"the GPU's memory is too small for the engine {graph} of {self._folder}",
                hint="export again with smaller --max-patches or --max-batch",
            )
        return context

    def _launch(self, chunks: Sequence[Features]) -> Launch:
        if self._ring is None:
            self._ring = cycle([self._launch_buffers() for _ in range(self.launches_at_once)])
        buffers = next(self._ring)
        buffers.start(chunks)
        return _Started(buffers, [len(chunk) for chunk in chunks])

    def _launch_buffers(self) -> LaunchBuffers:
        """Allocate the buffers of one launch, with a context of its own and fixed addresses."""
        from tcssa_runtimes.backends.launch_buffers import LaunchBuffers

        model = self._artefact.models["partial"]
        inputs, outputs = (
            [_with_batch(tensor, self.chunks_at_once) for tensor in tensors]
            for tensors in (model.inputs, model.outputs)
        )
        execute = partial(self._execute, self._context("partial"), [each.name for each in inputs])
        return LaunchBuffers(inputs, outputs, "cuda", execute)

    def _execute(
        self, context: Any, inputs: Sequence[str], tensors: Mapping[str, Tensor], stream: int
    ) -> None:
        for name in inputs:
            context.set_input_shape(name, tuple(tensors[name].shape))
        for name, tensor in tensors.items():
            context.set_tensor_address(name, tensor.data_ptr())
        if not context.execute_async_v3(stream):
            raise DeviceError(f"the engine partial of {self._folder} failed to run")

    def _call(self, graph: str, feed: Arrays) -> Arrays:
        import torch

        context, outputs = self._contexts[graph], self._artefact.models[graph].outputs
        with torch.cuda.stream(self._stream):
            buffers = {name: torch.from_numpy(array).cuda() for name, array in feed.items()}
            for name, tensor in buffers.items():
                context.set_input_shape(name, tuple(tensor.shape))
            for output in outputs:
                shape = tuple(context.get_tensor_shape(output.name))
                dtype = getattr(torch, output.dtype)
                buffers[output.name] = torch.empty(shape, dtype=dtype, device="cuda")
            for name, tensor in buffers.items():
                context.set_tensor_address(name, tensor.data_ptr())
            if not context.execute_async_v3(self._stream.cuda_stream):
                raise DeviceError(f"the engine {graph} of {self._folder} failed to run")
            self._stream.synchronize()
            return {output.name: buffers[output.name].cpu().numpy() for output in outputs}

    def _check_target(self, here: str) -> None:
        targets = self._artefact.gpu_targets
        if targets and here not in targets:
            raise ArtefactError(
                self._folder,
                f"the engine was built for {', '.join(targets)}, this GPU is {here}",
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


@dataclass(frozen=True)
class _Started:
    """Handle of a launch that runs on the GPU."""

    buffers: LaunchBuffers
    lengths: Sequence[int]

    def result(self) -> list[ChunkSums]:
        return chunk_sums(self.buffers.wait(), self.lengths)


def _with_batch(tensor: TensorSpec, batch: int) -> TensorSpec:
    """Return a tensor's spec with ``batch`` as its first axis, the only one of open size."""
    return tensor.model_copy(update={"shape": [batch, *tensor.shape[1:]]})
