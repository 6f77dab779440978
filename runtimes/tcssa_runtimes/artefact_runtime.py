"""What all runtimes of artefacts share: a full graph, or a chunked pair run part by part.

A backend fills in `_call`, which runs one graph of the artefact on arrays. A chunked pair streams
a slide of any size: ``partial`` gives a chunk's means and masses, their sums add up over the chunks
(`SlotSums`), and ``finish`` makes slots of the slide's means. Launches of ``partial`` have a fixed
number of rows, so a slide's result does not depend on how its features were handed over.

Shapes: B chunks or bags, C rows of a chunk, N patches, D features, K slots, T = top_k.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import ShapeError
from tcssa_runtimes.base import Chunk, EncodedSlide, Features, Runtime, RuntimeOutput
from tcssa_runtimes.footprint import SlotMoments

Arrays = Mapping[str, NDArray[Any]]


@dataclass
class SlotSums:
    """What the chunks of one slide add up to; the same monoid as `tcssa.SlotState`."""

    num_slots: int
    feature_dim: int
    weighted_sum: NDArray[np.float32] = field(init=False)
    """Σ P̃x, [K, D]."""
    mass: NDArray[np.float32] = field(init=False)
    """Σ P̃, [K]."""

    def __post_init__(self) -> None:
        self.weighted_sum = np.zeros((self.num_slots, self.feature_dim), np.float32)
        self.mass = np.zeros(self.num_slots, np.float32)

    def add(self, mean: NDArray[np.float32], mass: NDArray[np.float32]) -> None:
        """Add a chunk's means [K, D] and masses [K]."""
        self.weighted_sum += mean * mass[:, None]
        self.mass += mass

    def mean(self) -> NDArray[np.float32]:
        """The slide's means, [K, D]; 0 for an empty slot."""
        divisor: NDArray[np.float32] = np.where(self.mass > 0, self.mass, np.float32(1))
        return self.weighted_sum / divisor[:, None]


class ArtefactRuntime(Runtime):
    """Runs the graphs of an artefact.

    Args:
        facts: What the artefact says.
        name: What runs where.
    """

    @abstractmethod
    def _call(self, graph: str, feed: Arrays) -> Arrays:
        """Run one graph: ``full``, ``partial`` or ``finish``."""

    def _run(self, features: Features, lengths: NDArray[np.int64]) -> RuntimeOutput:
        if self.facts.chunk_patches is None:
            feed = {"features": features.astype(self.facts.input_dtype), "lengths": lengths}
            return self._checked_output(self._call("full", feed))
        bags = [
            self._run_chunked(bag[:n], len(bag)) for bag, n in zip(features, lengths, strict=True)
        ]
        return self._checked_output(
            {name: np.stack([bag[name] for bag in bags]) for name in bags[0]}
        )

    def _encode(self, chunks: Iterator[Chunk], *, has_coords: bool) -> EncodedSlide:
        if self.facts.chunk_patches is None:
            return super()._encode(chunks, has_coords=has_coords)
        sums, places, num_patches = self._no_sums(), SlotMoments(self.facts.num_slots), 0
        for features, positions in _rows_of(chunks, self.facts.chunk_patches):
            part = self._partial(features)
            sums.add(part["mean"], part["mass"])
            if positions is not None:
                places.add(part["assignments"], part["weights"], positions)
            num_patches += len(features)
        output = self._checked_output(self._finish(sums))
        return EncodedSlide(
            slots=output.slots[0],
            mass=sums.mass,
            centroids=places.centroids() if has_coords else None,
            spread=places.spread() if has_coords else None,
            num_patches=num_patches,
            logits=None if output.logits is None else output.logits[0],
            tokens=None if output.tokens is None else output.tokens[0],
        )

    def _run_chunked(self, bag: Features, num_rows: int) -> dict[str, NDArray[Any]]:
        """One bag [n, D] of a batch of ``num_rows``, chunk by chunk."""
        assert self.facts.chunk_patches is not None
        sums, top_k = self._no_sums(), self.facts.top_k
        assignments = np.full((num_rows, top_k), -1, np.int64)
        weights = np.zeros((num_rows, top_k), np.float32)
        for begin in range(0, len(bag), self.facts.chunk_patches):
            chunk = bag[begin : begin + self.facts.chunk_patches]
            part = self._partial(chunk)
            sums.add(part["mean"], part["mass"])
            assignments[begin : begin + len(chunk)] = part["assignments"]
            weights[begin : begin + len(chunk)] = part["weights"]
        finished = {name: values[0] for name, values in self._finish(sums).items()}
        return {**finished, "assignments": assignments, "weights": weights}

    def _partial(self, chunk: Features) -> dict[str, NDArray[Any]]:
        """One chunk of at most C rows; its routing without the padding."""
        assert self.facts.chunk_patches is not None
        shape = (1, self.facts.chunk_patches, self.facts.feature_dim)
        features = np.zeros(shape, self.facts.input_dtype)
        features[0, : len(chunk)] = chunk
        found = self._call("partial", {"features": features, "lengths": np.array([len(chunk)])})
        routing = {name: found[name][0, : len(chunk)] for name in ("assignments", "weights")}
        return {"mean": found["mean"][0], "mass": found["mass"][0], **routing}

    def _finish(self, sums: SlotSums) -> Arrays:
        return {**self._call("finish", {"mean": sums.mean()[None]}), "mass": sums.mass[None]}

    def _no_sums(self) -> SlotSums:
        return SlotSums(self.facts.num_slots, self.facts.feature_dim)

    def _checked_output(self, arrays: Arrays) -> RuntimeOutput:
        """Outputs of a graph by their names.

        Raises:
            ShapeError: They are not finite, though the features were: half precision overflowed.
        """
        if not np.isfinite(arrays["slots"]).all():
            raise ShapeError(
                "the slots are not finite: these features are too large for half precision",
                hint="export with --precision fp32",
            )
        nothing = np.empty((len(arrays["slots"]), 0, self.facts.top_k))
        return RuntimeOutput(
            slots=arrays["slots"],
            mass=arrays["mass"],
            assignments=arrays.get("assignments", nothing.astype(np.int64)),
            weights=arrays.get("weights", nothing.astype(np.float32)),
            logits=arrays.get("logits"),
            tokens=arrays.get("tokens"),
        )


def _rows_of(chunks: Iterator[Chunk], size: int) -> Iterator[Chunk]:
    """The same patches in chunks of ``size``, the last one smaller, however they came.

    Parts are views of what came; only a chunk of several parts is copied together.
    """
    held: list[Chunk] = []
    room = size
    for features, positions in chunks:
        begin = 0
        while begin < len(features):
            end = min(begin + room, len(features))
            held.append((features[begin:end], None if positions is None else positions[begin:end]))
            room -= end - begin
            begin = end
            if room == 0:
                yield _joined(held)
                held, room = [], size
    if held:
        yield _joined(held)


def _joined(parts: list[Chunk]) -> Chunk:
    if len(parts) == 1:
        return parts[0]
    places = [xy for _, xy in parts if xy is not None]
    return np.concatenate([part for part, _ in parts]), np.concatenate(places) if places else None
