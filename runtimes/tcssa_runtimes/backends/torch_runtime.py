"""The runtime of eager torch, which streams a slide of any size through bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tcssa.artefact import PatchRange
from tcssa.errors import NonFiniteFeatureError
from tcssa_runtimes.contract.base import Runtime
from tcssa_runtimes.contract.chunks import Features
from tcssa_runtimes.contract.model_info import ModelFacts
from tcssa_runtimes.contract.outputs import Means, Refined, RuntimeOutput
from tcssa_runtimes.contract.slide_sums import ChunkSums

if TYPE_CHECKING:
    import torch

    from tcssa.compressor import LoadedCompressor
    from tcssa.compressor.aggregation import Aggregate
    from tcssa_runtimes.backends.pinned import PinnedUploads

_CHUNK_PATCHES = 4096
_CHUNKS_AT_ONCE = 16
"""Chunks of a launch on a GPU, where the fused kernel takes them together."""


class TorchRuntime(Runtime):
    """Runs the compressor itself.

    Args:
        checkpoint: The compressor; moved to the device on entering, and to the CPU on leaving.
        device: A torch device that is available.
    """

    def __init__(self, checkpoint: LoadedCompressor, device: str) -> None:
        config = checkpoint.model.config
        facts = ModelFacts(
            path=checkpoint.path,
            feature_dim=config.patch_dim,
            slot_dim=config.feature_dim,
            num_slots=config.num_slots,
            top_k=config.top_k,
            patches=PatchRange(min=0, opt=0, max=None),
            max_batch=None,
            encoder=checkpoint.encoder,
            sha256=checkpoint.sha256,
            chunk_patches=_CHUNK_PATCHES,
            budgets=tuple(config.budgets) if config.nested else (),
            auto_share=config.auto_share,
            spatial=config.spatial,
            extraction=checkpoint.extraction,
        )
        super().__init__(facts, f"torch ({device})")
        self._model = checkpoint.model.float().eval()
        self._device = device
        self._uploads: PinnedUploads | None = None
        self.finds_bad_rows = True
        # as they are stored: half the bytes to copy, and torch or the fused kernel widens them
        self.chunk_dtypes = frozenset({"float16", "float32"})
        if device != "cpu":
            self.chunks_at_once = _CHUNKS_AT_ONCE

    def _open(self) -> None:
        self._model.to(self._device)
        if self._device.startswith("cuda"):
            from tcssa_runtimes.backends.pinned import PinnedUploads

            largest = _CHUNK_PATCHES * self.facts.feature_dim * np.dtype(np.float32).itemsize
            self._uploads = PinnedUploads(largest, self._device)

    def _close(self) -> None:
        self._uploads = None
        self._model.to("cpu")

    def _run(
        self,
        features: Features,
        lengths: NDArray[np.int64],
        coords: NDArray[np.float64] | None,
    ) -> RuntimeOutput:
        import torch

        mask = torch.arange(features.shape[1]) < torch.from_numpy(lengths).unsqueeze(1)
        with torch.no_grad():
            places = None if coords is None else torch.from_numpy(coords)
            output = self._model(self._tensor(features), mask.to(self._device), places)
        return RuntimeOutput(
            slots=output.slots.cpu().numpy(),
            mass=output.mass.cpu().numpy(),
            assignments=output.assignments.cpu().numpy(),
            weights=output.weights.cpu().numpy(),
            salience=None if output.salience is None else output.salience.cpu().numpy(),
        )

    def _sum_up(self, chunks: Sequence[Features]) -> list[ChunkSums]:
        import torch

        parts, bad_rows = self._aggregate(chunks)
        sums = {place: self._no_sums(row) for place, row in bad_rows.items()}
        if not parts:
            return [sums[place] for place in range(len(chunks))]
        # one copy of each from the device, not one per chunk: every copy waits for the device
        found = list(parts.values())
        weighted_sum = torch.stack([part.state.weighted_sum for part in found]).cpu().numpy()
        mass = torch.stack([part.state.mass for part in found]).cpu().numpy()
        assignments = torch.cat([part.assignments for part in found]).cpu().numpy()
        weights = torch.cat([part.weights for part in found]).cpu().numpy()
        ends = np.cumsum([len(part.weights) for part in found])[:-1]
        factors = [part.salience for part in found if part.salience is not None]
        salience: Sequence[NDArray[np.float32] | None] = [None] * len(found)
        if factors:
            salience = np.split(torch.cat(factors).cpu().numpy(), ends)
        columns = (
            weighted_sum, mass, np.split(assignments, ends), np.split(weights, ends), salience
        )  # fmt: skip
        sums |= {place: ChunkSums(*row) for place, *row in zip(parts, *columns, strict=True)}
        return [sums[place] for place in range(len(chunks))]

    def _aggregate(self, chunks: Sequence[Features]) -> tuple[dict[int, Aggregate], dict[int, int]]:
        """Sum up chunks, or find the bad row of one that has it; both by index into ``chunks``.

        Chunks of different types run apart: a slide's slots must not depend on its neighbours.
        """
        import torch

        of_type: dict[str, list[int]] = {}
        for place, chunk in enumerate(chunks):
            of_type.setdefault(chunk.dtype.name, []).append(place)
        parts: dict[int, Aggregate] = {}
        bad_rows: dict[int, int] = {}
        for places in of_type.values():
            tensors = [self._upload(chunks[place]) for place in places]
            with torch.no_grad():
                while tensors:
                    try:
                        found = self._model.aggregate(tensors)
                    except NonFiniteFeatureError as error:  # the others are launched again
                        bag = error.bag or 0
                        del tensors[bag]
                        bad_rows[places.pop(bag)] = error.row
                    else:
                        parts.update(zip(places, found, strict=True))
                        break
        return parts, bad_rows

    def _no_sums(self, bad_row: int) -> ChunkSums:
        nothing = self.no_sums(has_coords=False)
        nowhere = np.empty((0, self.facts.top_k), np.int64)
        weightless = np.empty((0, self.facts.top_k), np.float32)
        return ChunkSums(nothing.weighted_sum, nothing.mass, nowhere, weightless, bad_row=bad_row)

    def _upload(self, chunk: Features) -> torch.Tensor:
        return self._tensor(chunk) if self._uploads is None else self._uploads.upload(chunk)

    def _refine(self, means: Means) -> Refined:
        import torch

        with torch.no_grad():
            centers = self._tensor(means.means)
            if self._model.places is not None and means.moments is not None:
                centers = centers + self._model.places(self._tensor(means.moments))
            slots = self._model.experts(centers)
        return Refined(slots.cpu().numpy())

    def _tensor(self, values: Features) -> torch.Tensor:
        import torch

        if not values.flags.writeable:  # torch warns of arrays that it must not write to
            values = values.copy()
        return torch.from_numpy(values).to(self._device)
