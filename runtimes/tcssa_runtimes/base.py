"""The contract of every runtime.

A runtime is a context manager: it allocates on entering, frees on leaving, and checks what it is
given before it runs. A backend fills in `_open`, `_close` and `_run`; one that can stream a
slide also `_encode`. Backends of artefacts are made in `tcssa_runtimes.artefact_runtime`.

Shapes: B bags, N patches, D features, K slots, T = top_k. Arrays are NumPy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import ShapeError
from tcssa_runtimes.checks import (
    check_batch,
    check_features,
    check_finite,
    check_range,
    check_size,
)
from tcssa_runtimes.facts import ModelFacts
from tcssa_runtimes.footprint import SlotMoments

Features = NDArray[np.float32]
Chunk = tuple[Features, NDArray[np.float64] | None]
"""Some patches of a slide: features [n, D], and positions [n, 2] or None."""


@dataclass(frozen=True)
class RuntimeOutput:
    """What becomes of a padded batch."""

    slots: NDArray[np.float32]
    """[B, K, D]."""
    mass: NDArray[np.float32]
    """Sum of routing weights of each slot, [B, K]; 0 marks an empty slot."""
    assignments: NDArray[np.int64]
    """The slots of each patch, most probable first, [B, N, T]; -1 for padding."""
    weights: NDArray[np.float32]
    """Their routing probabilities, [B, N, T]; 0 for padding."""
    logits: NDArray[np.float32] | None = None
    """A classifier's, [B, C]."""
    tokens: NDArray[np.float32] | None = None
    """A projector's, [B, K, H]."""


@dataclass(frozen=True)
class EncodedBag:
    """What becomes of one bag of `Runtime.compress`."""

    slots: NDArray[np.float32]
    """[K, D]."""
    mass: NDArray[np.float32]
    """[K]; 0 marks an empty slot."""
    assignments: NDArray[np.int64]
    """[N, T]."""
    weights: NDArray[np.float32]
    """[N, T]."""
    logits: NDArray[np.float32] | None = None
    """A classifier's, [C]."""
    tokens: NDArray[np.float32] | None = None
    """A projector's, [K, H]."""


@dataclass(frozen=True)
class EncodedSlide:
    """What becomes of one slide."""

    slots: NDArray[np.float32]
    """[K, D]."""
    mass: NDArray[np.float32]
    """[K]; 0 marks an empty slot."""
    centroids: NDArray[np.float64] | None
    """Weighted mean position of each slot's patches, [K, 2], in the unit of the positions that
    were given; NaN for an empty slot. None where no positions were given."""
    spread: NDArray[np.float64] | None
    """Weighted standard deviation of the positions, [K, 2]; likewise."""
    num_patches: int
    logits: NDArray[np.float32] | None = None
    """A classifier's, [C]."""
    tokens: NDArray[np.float32] | None = None
    """A projector's, [K, H]."""


class Runtime(ABC):
    """Runs one model on one device.

    Args:
        facts: The model.
        name: What runs where, e.g. ``onnx (cpu)``.
    """

    def __init__(self, facts: ModelFacts, name: str) -> None:
        self.facts = facts
        self.name = name
        self.notes: list[str] = []
        """What a report must say of how the model runs, such as a fallback that was allowed."""
        self._is_open = False

    def __enter__(self) -> Self:
        self._open()
        self._is_open = True
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_open = False
        self._close()

    def run(self, features: NDArray[Any], lengths: NDArray[Any]) -> RuntimeOutput:
        """Compress a padded batch of bags.

        Args:
            features: Patch features [B, N, D], of any floating type. What stands beyond a bag's
                length is never looked at.
            lengths: Patches of each bag, [B], integers from 0 to N.

        Raises:
            ShapeError: Shapes, types or sizes do not fit the model.
            NonFiniteFeatureError: A real patch has a NaN or an infinity; it names bag and row.
        """
        self._require_open()
        lengths = check_batch(self.facts, features, lengths)
        batch, num_patches, feature_dim = features.shape
        rows = max(num_patches, self.facts.patches.min)
        if rows > num_patches or lengths.min() < num_patches:
            # a graph multiplies padding by zero, which needs it to be finite
            padded = np.zeros((batch, rows, feature_dim), np.float32)
            for bag, source, length in zip(padded, features, lengths, strict=True):
                bag[:length] = source[:length]
        else:
            padded = np.ascontiguousarray(features, np.float32)
        for index, (bag, length) in enumerate(zip(padded, lengths, strict=True)):
            check_finite(bag[:length], where=f"bag {index}")
            check_range(bag[:length], self.facts.input_dtype, where=f"bag {index}")
        output = self._run(padded, lengths)
        return replace(
            output,
            assignments=output.assignments[:, :num_patches],
            weights=output.weights[:, :num_patches],
        )

    def compress(self, bags: Sequence[NDArray[Any]]) -> list[EncodedBag]:
        """Compress whole bags of any sizes, each padded to the largest of its launch.

        Args:
            bags: Patch features of each bag, [N, D], of any floating type.

        Raises:
            ShapeError: Shapes, types or sizes do not fit the model.
            NonFiniteFeatureError: A patch has a NaN or an infinity; it names bag and row.
        """
        encoded: list[EncodedBag] = []
        most = self.facts.max_batch or max(1, len(bags))
        for begin in range(0, len(bags), most):
            encoded += self._compress(bags[begin : begin + most])
        return encoded

    def _compress(self, bags: Sequence[NDArray[Any]]) -> list[EncodedBag]:
        lengths = np.array([len(bag) for bag in bags])
        features = np.zeros((len(bags), lengths.max(), self.facts.feature_dim), np.float32)
        for row, bag in zip(features, bags, strict=True):
            check_features(self.facts, bag)
            row[: len(bag)] = bag
        output = self.run(features, lengths)
        return [
            EncodedBag(
                slots=output.slots[b],
                mass=output.mass[b],
                assignments=output.assignments[b, :length],
                weights=output.weights[b, :length],
                logits=None if output.logits is None else output.logits[b],
                tokens=None if output.tokens is None else output.tokens[b],
            )
            for b, length in enumerate(lengths)
        ]

    def encode(
        self,
        features: NDArray[Any] | Iterable[NDArray[Any]],
        coords: NDArray[Any] | None = None,
    ) -> EncodedSlide:
        """Compress one slide.

        Args:
            features: Its patches [N, D], of any floating type, or chunks of them, which are
                taken one after another.
            coords: Positions of the patches, [N, 2], in any unit: corners or centres, the
                footprint is of what is given.

        Raises:
            ShapeError: Shapes, types or sizes do not fit the model.
            NonFiniteFeatureError: A patch has a NaN or an infinity; the row counts over all
                chunks.
        """
        self._require_open()
        chunks = [features] if isinstance(features, np.ndarray) else features
        return self._encode(self._checked(chunks, coords), has_coords=coords is not None)

    @abstractmethod
    def _open(self) -> None:
        """Allocate what the model needs."""

    @abstractmethod
    def _close(self) -> None:
        """Free it."""

    @abstractmethod
    def _run(self, features: Features, lengths: NDArray[np.int64]) -> RuntimeOutput:
        """Run a checked batch; rows beyond the lengths are zero."""

    def _encode(self, chunks: Iterator[Chunk], *, has_coords: bool) -> EncodedSlide:
        """Run one slide from its checked chunks. A graph needs all of them at once."""
        parts = list(chunks)
        num_patches = sum(len(part) for part, _ in parts)
        # a graph runs on at least one row; of an empty bag that is padding
        rows = max(num_patches, self.facts.patches.min)
        if len(parts) == 1 and rows == num_patches:
            features = np.ascontiguousarray(parts[0][0])
        else:
            features = np.zeros((rows, self.facts.feature_dim), np.float32)
            np.concatenate([features[:0], *(part for part, _ in parts)], out=features[:num_patches])
        output = self._run(features[None], np.array([num_patches]))
        centroids = spread = None
        if has_coords:
            positions = [np.empty((0, 2)), *(xy for _, xy in parts if xy is not None)]
            places = SlotMoments(self.facts.num_slots)
            places.add(
                output.assignments[0, :num_patches],
                output.weights[0, :num_patches],
                np.concatenate(positions),
            )
            centroids, spread = places.centroids(), places.spread()
        return EncodedSlide(
            output.slots[0],
            output.mass[0],
            centroids,
            spread,
            num_patches,
            logits=None if output.logits is None else output.logits[0],
            tokens=None if output.tokens is None else output.tokens[0],
        )

    def _checked(
        self, chunks: Iterable[NDArray[Any]], coords: NDArray[Any] | None
    ) -> Iterator[Chunk]:
        """The chunks of a slide in float32 with their positions, each checked as it passes."""
        begin = 0
        for chunk in chunks:
            if chunk.ndim != 2:
                shape = list(chunk.shape)
                raise ShapeError(f"features must be [N, {self.facts.feature_dim}], got {shape}")
            check_features(self.facts, chunk)
            end = begin + len(chunk)
            check_size(self.facts, end)
            features = chunk.astype(np.float32, copy=False)
            check_finite(features, first_row=begin)
            check_range(features, self.facts.input_dtype, first_row=begin)
            yield features, None if coords is None else coords[begin:end].astype(np.float64)
            begin = end
        if coords is not None and coords.shape != (begin, 2):
            raise ShapeError(f"coords must be [{begin}, 2], got {list(coords.shape)}")

    def _require_open(self) -> None:
        if not self._is_open:
            raise RuntimeError("a runtime is a context manager: with open_runtime(...) as runtime")
