"""The buffers of one launch of a chunked engine, which are used again for later launches.

Features go from pinned host memory to the device on a stream of their own, so that one launch is
copied while another one computes; on a GPU the launch itself is recorded once as a CUDA graph and
then replayed. Two sets of buffers used in turn give double buffering.

On a CPU, where tests run it, there are no streams and a launch is done when `start` returns. Not
yet run on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from tcssa.artefact import TensorSpec
from tcssa_runtimes.backends.pinned import fill
from tcssa_runtimes.contract.chunks import Features

Execute = Callable[[Mapping[str, Tensor], int], None]
"""Runs the graph on its input and output tensors by name, on a CUDA stream (0 on a CPU)."""


class LaunchBuffers:
    """Input and output of one launch, on the host and on the device.

    Args:
        inputs: ``features`` [B, C, D] and ``lengths`` [B], every axis with its size.
        outputs: Tensors that the graph writes, every axis with its size.
        device: A torch device.
        execute: Runs the graph.
    """

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        device: str,
        execute: Execute,
    ) -> None:
        self._execute = execute
        self._inputs = [tensor.name for tensor in inputs]
        self._outputs = [tensor.name for tensor in outputs]
        self._on_gpu = device != "cpu"
        self._host = {tensor.name: self._host_tensor(tensor) for tensor in (*inputs, *outputs)}
        self._device = {name: tensor.to(device) for name, tensor in self._host.items()}
        self._streams = _Streams() if self._on_gpu else None
        self._graph: torch.cuda.CUDAGraph | None = None

    def start(self, chunks: Sequence[Features]) -> None:
        """Copy chunks and compute them; the launch before must have been waited for.

        Rows beyond a chunk keep their earlier values, which are finite and are ignored.
        """
        features, lengths = self._host["features"], self._host["lengths"]
        lengths.zero_()
        for row, chunk in enumerate(chunks):
            lengths[row] = len(chunk)
            fill(features[row, : len(chunk)], chunk)
        if self._streams is None:
            self._upload()
            self._execute(self._device, 0)
            self._download()
            return
        with torch.cuda.stream(self._streams.copy):
            self._upload()
            self._streams.uploaded.record()
        self._streams.compute.wait_event(self._streams.uploaded)
        with torch.cuda.stream(self._streams.compute):
            self._replay(self._streams.compute)
            self._download()
            self._streams.done.record()

    def wait(self) -> dict[str, NDArray[Any]]:
        """Wait for the launch that was started last, and return copies of its outputs by name."""
        if self._streams is not None:
            self._streams.done.synchronize()
        return {name: self._host[name].numpy().copy() for name in self._outputs}

    def _replay(self, stream: torch.cuda.Stream) -> None:
        """Replay the recorded graph; the first launch runs it once and records it before."""
        if self._graph is None:
            self._execute(self._device, stream.cuda_stream)  # engines set themselves up here
            stream.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=stream):
                self._execute(self._device, stream.cuda_stream)
        self._graph.replay()

    def _upload(self) -> None:
        for name in self._inputs:
            self._device[name].copy_(self._host[name], non_blocking=True)

    def _download(self) -> None:
        for name in self._outputs:
            self._host[name].copy_(self._device[name], non_blocking=True)

    def _host_tensor(self, tensor: TensorSpec) -> Tensor:
        shape = [size for size in tensor.shape if size is not None]
        assert len(shape) == len(tensor.shape)
        return torch.zeros(shape, dtype=getattr(torch, tensor.dtype), pin_memory=self._on_gpu)


class _Streams:
    """A stream for copies, one for computing, and the events by which they wait for each other."""

    def __init__(self) -> None:
        # none of them the default stream, on which TensorRT synchronises
        self.copy = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's gap
        self.compute = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's gap
        self.uploaded = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's gap
        self.done = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's gap
