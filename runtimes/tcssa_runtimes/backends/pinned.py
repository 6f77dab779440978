"""Uploads of features to a GPU, through a few blocks of pinned host memory used in turn.

A copy out of pageable memory goes through a block of the driver's, which a single thread fills and
then waits for. Here all of torch's threads fill a block while the one before is being copied.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tcssa_runtimes.contract.chunks import Features

_BLOCKS = 4


class PinnedUploads:
    """Copies chunks to a device; on a CPU it makes plain copies, with nothing to wait for.

    Args:
        num_bytes: Size of the largest chunk.
        device: A torch device.
    """

    def __init__(self, num_bytes: int, device: str) -> None:
        self._device = device
        self._on_gpu = device.startswith("cuda")
        self._blocks = [
            torch.empty(num_bytes, dtype=torch.uint8, pin_memory=self._on_gpu)
            for _ in range(_BLOCKS)
        ]
        self._sent: list[torch.cuda.Event | None] = [None] * _BLOCKS
        self._next = 0

    def upload(self, chunk: Features) -> Tensor:
        """Copy a chunk [n, D] to the device, in order with the work on its current stream."""
        place, self._next = self._next, (self._next + 1) % _BLOCKS
        if (sent := self._sent[place]) is not None:
            sent.synchronize()
        dtype = getattr(torch, chunk.dtype.name)
        block = self._blocks[place][: chunk.nbytes].view(dtype).reshape(chunk.shape)
        fill(block, chunk)
        if not self._on_gpu:
            return block.clone()
        on_device = block.to(self._device, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's gap
        event.record(torch.cuda.current_stream(self._device))
        self._sent[place] = event
        return on_device


def fill(block: Tensor, chunk: Features) -> None:
    """Copy a chunk into host memory, a writeable one by all of torch's threads.

    Args:
        block: A CPU tensor [n, D], of any floating type that the chunk's casts to.
        chunk: Features [n, D].
    """
    if chunk.flags.writeable:
        block.copy_(torch.from_numpy(chunk))
    else:  # torch warns of arrays that it must not write to
        np.copyto(block.numpy(), chunk, casting="same_kind")
