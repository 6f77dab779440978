"""Eager torch: streams a slide of any size through bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tcssa.artefact import PatchRange
from tcssa_runtimes.base import Chunk, EncodedSlide, Features, Runtime, RuntimeOutput
from tcssa_runtimes.facts import ModelFacts

if TYPE_CHECKING:
    import torch

    from tcssa.compressor import LoadedCompressor


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
        )
        super().__init__(facts, f"torch ({device})")
        self._model = checkpoint.model.float().eval()
        self._device = device

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

    def _encode(self, chunks: Iterator[Chunk], *, has_coords: bool) -> EncodedSlide:
        import torch

        state = self._model.start()
        for features, positions in chunks:
            coords = None if positions is None else torch.from_numpy(positions)
            state = self._model.update(state, self._tensor(features), coords)
        centroids = spread = None
        if has_coords:
            assert state.footprint is not None  # every chunk came with its positions
            centroids = state.footprint.centroids().numpy()
            spread = state.footprint.spread().numpy()
        return EncodedSlide(
            slots=self._model.finish(state).cpu().numpy(),
            mass=state.mass.cpu().numpy(),
            centroids=centroids,
            spread=spread,
            num_patches=state.num_patches,
        )

    def _tensor(self, features: Features) -> torch.Tensor:
        import torch

        if not features.flags.writeable:  # torch warns of arrays that it must not write to
            features = features.copy()
        return torch.from_numpy(features).to(self._device)
