"""The common base of artefact runtimes, for a full graph or for a chunked pair run by chunks.

A backend implements `_call`, which runs one graph of the artefact on arrays. A chunked pair streams
a slide of any size: ``partial`` returns a chunk's means and masses, whose products add up over the
chunks, and ``finish`` makes slots of the slide's means. (Means, and not sums, are what artefacts
state: a sum of thousands of patches would leave the range of half precision.) Chunks begin at fixed
rows of a slide, so a slide's result does not depend on how its features were handed over.

Shapes: B chunks or bags, C rows of a chunk, N patches, D features, K slots, T = top_k.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa_runtimes.contract.base import Runtime
from tcssa_runtimes.contract.chunks import Features
from tcssa_runtimes.contract.model_info import ModelFacts
from tcssa_runtimes.contract.outputs import Means, Refined, RuntimeOutput
from tcssa_runtimes.contract.slide_accumulator import Launches
from tcssa_runtimes.contract.slide_sums import ChunkSums

Arrays = Mapping[str, NDArray[Any]]

_CHUNKS_AT_ONCE = 16
"""Chunks of a launch where graphs have a fixed number of rows, as those for GPUs do; fewer where
the model's largest batch is smaller."""


class ArtefactRuntime(Runtime):
    """Runs the graphs of an artefact.

    Args:
        facts: Shape, limits and origin of the model.
        name: Backend and device, e.g. ``onnx (cpu)``.
    """

    def __init__(self, facts: ModelFacts, name: str) -> None:
        super().__init__(facts, name)
        if facts.input_dtype == "float16":
            self.chunk_dtypes = frozenset({"float16", "float32"})  # taken as they are stored
        if facts.fixed_rows:
            self.chunks_at_once = min(_CHUNKS_AT_ONCE, facts.max_batch or _CHUNKS_AT_ONCE)

    @abstractmethod
    def _call(self, graph: str, feed: Arrays) -> Arrays:
        """Run one graph, ``full``, ``partial`` or ``finish``; return its outputs by name."""

    def _run(
        self,
        features: Features,
        lengths: NDArray[np.int64],
        coords: NDArray[np.float64] | None,
    ) -> RuntimeOutput:
        if self.facts.chunk_patches is not None:
            return self._run_chunked(features, lengths, coords, self.facts.chunk_patches)
        given = features.astype(self.facts.input_dtype, copy=False)
        feed: dict[str, NDArray[Any]] = {"features": given, "lengths": lengths}
        if coords is not None:
            feed["coords"] = centred(coords, lengths)
        return _run_output(self._call("full", feed))

    def _run_chunked(
        self,
        features: Features,
        lengths: NDArray[np.int64],
        coords: NDArray[np.float64] | None,
        chunk_patches: int,
    ) -> RuntimeOutput:
        """Run a batch of bags, chunk by chunk."""
        batch, num_rows, _ = features.shape
        mpp = None if coords is None else 1.0
        sums = [self.no_sums(has_coords=mpp is not None, mpp=mpp) for _ in range(batch)]
        assignments = np.full((batch, num_rows, self.facts.top_k), -1, np.int64)
        weights = np.zeros((batch, num_rows, self.facts.top_k), np.float32)
        salience = np.zeros((batch, num_rows), np.float32) if self.facts.has_salience else None
        for (bag, rows), chunk in self._launched(features, lengths, chunk_patches):
            sums[bag].add(chunk, None if coords is None else coords[bag, rows])
            assignments[bag, rows], weights[bag, rows] = chunk.assignments, chunk.weights
            if salience is not None:
                salience[bag, rows] = chunk.salience
        # one by one: a product's bits may depend on how many rows it has
        with_moments, num_slots = coords is not None, self.facts.num_slots
        refined = [
            self._finish(Means.of([slide], num_slots, with_moments=with_moments)) for slide in sums
        ]
        routing: dict[str, NDArray[Any]] = {"assignments": assignments, "weights": weights}
        if salience is not None:
            routing["salience"] = salience
        return _run_output(
            {
                **{name: np.concatenate([bag[name] for bag in refined]) for name in refined[0]},
                "mass": np.stack([slide.mass for slide in sums]),
                **routing,
            }
        )

    def _launched(
        self, features: Features, lengths: NDArray[np.int64], chunk_patches: int
    ) -> Iterator[tuple[tuple[int, slice], ChunkSums]]:
        """Yield the sums of each chunk of a batch, with its bag and its rows."""
        with Launches[tuple[int, slice]](self) as launches:
            for bag, length in enumerate(lengths.tolist()):
                for begin in range(0, length, chunk_patches):
                    rows = slice(begin, min(begin + chunk_patches, length))
                    yield from launches.put((bag, rows), features[bag, rows])
            yield from launches.drain()

    def _sum_up(self, chunks: Sequence[Features]) -> list[ChunkSums]:
        lengths = np.array([len(chunk) for chunk in chunks])
        if len(chunks) == 1 and not self.facts.fixed_rows:
            features = chunks[0].astype(self.facts.input_dtype, copy=False)[None]
        else:
            features = self._packed(chunks)
        found = self._call("partial", {"features": features, "lengths": lengths})
        return chunk_sums(found, lengths.tolist())

    def _packed(self, chunks: Sequence[Features]) -> NDArray[Any]:
        """Pack chunks into one batch [B, C, D]; rows beyond a chunk are zero."""
        assert self.facts.chunk_patches is not None
        rows = self.facts.chunk_patches
        if not self.facts.fixed_rows:
            rows = max(len(chunk) for chunk in chunks)
        packed = np.zeros((len(chunks), rows, self.facts.feature_dim), self.facts.input_dtype)
        for row, chunk in zip(packed, chunks, strict=True):
            row[: len(chunk)] = chunk
        return packed

    def _finish(self, means: Means) -> Arrays:
        feed = {"mean": means.means}
        if self.facts.finish_takes_mass:
            feed["mass"] = means.masses
        if means.moments is not None:
            feed["moments"] = means.moments
        return self._call("finish", feed)

    def _refine(self, means: Means) -> Refined:
        found = self._finish(means)
        return Refined(found["slots"], found.get("logits"), found.get("tokens"))


def chunk_sums(found: Arrays, lengths: Sequence[int]) -> list[ChunkSums]:
    """Split the output of ``partial`` into the sums of each chunk, without padding.

    Args:
        found: The graph's outputs by name; their first axis is the chunks.
        lengths: Rows of each chunk that are not padding.
    """
    return [
        ChunkSums(
            weighted_sum=found["mean"][b] * found["mass"][b][:, None],
            mass=found["mass"][b],
            assignments=found["assignments"][b, :length],
            weights=found["weights"][b, :length],
            salience=found["salience"][b, :length] if "salience" in found else None,
        )
        for b, length in enumerate(lengths)
    ]


def centred(coords: NDArray[np.float64], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
    """Move the positions of each bag's patches close to 0, where float32 is exact enough.

    Args:
        coords: (x, y) in µm, [B, N, 2].
        lengths: Patches of each bag, [B].

    Returns:
        The positions relative to their bag's mean, [B, N, 2], 0 for padding; a model with places
        makes the same of them.
    """
    moved = np.zeros(coords.shape, np.float32)
    for bag, given, length in zip(moved, coords, lengths, strict=True):
        if length:
            bag[:length] = given[:length] - given[:length].mean(axis=0)
    return moved


def _run_output(arrays: Arrays) -> RuntimeOutput:
    return RuntimeOutput(
        slots=arrays["slots"],
        mass=arrays["mass"],
        assignments=arrays["assignments"],
        weights=arrays["weights"],
        salience=arrays.get("salience"),
        logits=arrays.get("logits"),
        tokens=arrays.get("tokens"),
    )
