"""Chunks through a few blocks of memory in turn."""

import numpy as np
import pytest
import torch
from optional_packages import needs_cuda

from tcssa_runtimes.backends.pinned import PinnedUploads

DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_cuda])]


@pytest.mark.parametrize("device", DEVICES)
def test_chunks_arrive_as_they_are_while_the_blocks_are_used_again(device: str) -> None:
    rng = np.random.default_rng(0)
    given = [
        rng.standard_normal((rows, 8)).astype(dtype)
        for rows, dtype in zip(rng.integers(0, 500, 40), [np.float32, np.float16] * 20, strict=True)
    ]
    for chunk in given[::3]:
        chunk.setflags(write=False)
    uploads = PinnedUploads(500 * 8 * 4, device)
    arrived = [uploads.upload(chunk) for chunk in given]
    for chunk, tensor in zip(given, arrived, strict=True):
        assert tensor.device.type == device
        assert np.array_equal(tensor.cpu().numpy(), chunk)
    assert {tensor.dtype for tensor in arrived} == {torch.float16, torch.float32}
