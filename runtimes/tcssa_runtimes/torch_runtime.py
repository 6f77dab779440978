"""Eager torch: streams a slide of any size through bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tcssa.artefact import PatchRange
from tcssa_runtimes.base import Runtime
from tcssa_runtimes.chunks import Features
from tcssa_runtimes.facts import ModelFacts
from tcssa_runtimes.outputs import Refined, RuntimeOutput
from tcssa_runtimes.sums import ChunkSums

if TYPE_CHECKING:
    import torch

    from tcssa.compressor import LoadedCompressor

_CHUNK_PATCHES = 4096
_CHUNKS_AT_ONCE = 16
"""On a GPU, where the fused kernel takes them in one launch."""


class TorchRuntime(Runtime):
    """Runs the compressor itself.

    Args:
        checkpoint: The compressor; it is moved to the device on entering and back on leaving.
        device: A torch device that is there.
    """

    def __init__(self, checkpoint: LoadedCompressor, device: str) -> None:
        config = checkpoint.model.config
        facts = ModelFacts(
            path=checkpoint.path,
            feature_dim=config.feature_dim,
            num_slots=config.num_slots,
            top_k=config.top_k,
            patches=PatchRange(min=0, opt=0, max=None),
            max_batch=None,
            encoder=checkpoint.encoder,
            sha256=checkpoint.sha256,
            chunk_patches=_CHUNK_PATCHES,
        )
        super().__init__(facts, f"torch ({device})")
        self._model = checkpoint.model.float().eval()
        self._device = device
        if device != "cpu":
            self.chunks_at_once = _CHUNKS_AT_ONCE
            # as they are stored: half the bytes to copy, and the fused kernel widens them itself
            self.chunk_dtypes = frozenset({"float16", "float32"})

    def _open(self) -> None:
        self._model.to(self._device)

    def _close(self) -> None:
        self._model.to("cpu")

    def _run(self, features: Features, lengths: NDArray[np.int64]) -> RuntimeOutput:
        import torch

        mask = torch.arange(features.shape[1]) < torch.from_numpy(lengths).unsqueeze(1)
        with torch.no_grad():
            output = self._model(self._tensor(features), mask.to(self._device))
        return RuntimeOutput(
            slots=output.slots.cpu().numpy(),
            mass=output.mass.cpu().numpy(),
            assignments=output.assignments.cpu().numpy(),
            weights=output.weights.cpu().numpy(),
        )

    def _sum_up(self, chunks: Sequence[Features]) -> list[ChunkSums]:
        import torch

        with torch.no_grad():
            parts = self._model.aggregate([self._tensor(chunk) for chunk in chunks])
        # one copy of each off the device, not one a chunk: every copy waits for the device
        weighted_sum = torch.stack([part.state.weighted_sum for part in parts]).cpu().numpy()
        mass = torch.stack([part.state.mass for part in parts]).cpu().numpy()
        assignments = torch.cat([part.assignments for part in parts]).cpu().numpy()
        weights = torch.cat([part.weights for part in parts]).cpu().numpy()
        ends = np.cumsum([len(chunk) for chunk in chunks])
        return [
            ChunkSums(
                weighted_sum=weighted_sum[c],
                mass=mass[c],
                assignments=assignments[end - len(chunk) : end],
                weights=weights[end - len(chunk) : end],
            )
            for c, (chunk, end) in enumerate(zip(chunks, ends, strict=True))
        ]

    def _refine(self, means: NDArray[np.float32]) -> Refined:
        import torch

        with torch.no_grad():
            slots = self._model.experts(self._tensor(means))
        return Refined(slots.cpu().numpy())

    def _tensor(self, values: Features) -> torch.Tensor:
        import torch

        if not values.flags.writeable:  # torch warns of arrays that it must not write to
            values = values.copy()
        return torch.from_numpy(values).to(self._device)
