"""The contract of every runtime.

A runtime is a context manager: it allocates on entering, frees on leaving, and checks its input
before it runs. Some models take a slide whole. Where `ModelFacts.chunk_patches` is set, the runtime
streams: `launch` computes the sums that chunks add to their slides, and `finish` makes the slots of
slides whose chunks have all been added. Both take chunks or slides of any origin together, which is
how `tcssa_runtimes.archive.launch_scheduler` fills its launches.

A backend implements `_open`, `_close`, `_run`, and, if it streams, `_sum_up` and `_refine`; one
that computes asynchronously also overrides `_launch`. Backends for artefacts derive from
`tcssa_runtimes.backends.artefact_runtime`.

Shapes: B bags, N patches, n rows of a chunk, S slides, D features, K slots, T = top_k. Arrays are
NumPy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tcssa.budgets import Budget, choose_budget
from tcssa.errors import ShapeError, UsageError
from tcssa.moments import NEEDS_PLACES, VECTOR_LENGTH, SlotMoments, require_places, require_scale
from tcssa_runtimes.contract.checks import (
    check_batch,
    check_features,
    check_finite,
    check_range,
    check_size,
)
from tcssa_runtimes.contract.chunks import Chunk, Features, rows_of
from tcssa_runtimes.contract.model_info import ModelFacts
from tcssa_runtimes.contract.outputs import EncodedBag, EncodedSlide, Means, Refined, RuntimeOutput
from tcssa_runtimes.contract.slide_accumulator import ChunkSums, SlideSums, counted

Pending = Callable[[], list[ChunkSums]]


class Runtime(ABC):
    """Runs one model on one device.

    Args:
        facts: Shape, limits and origin of the model.
        name: Backend and device, e.g. ``onnx (cpu)``.
    """

    def __init__(self, facts: ModelFacts, name: str) -> None:
        self.facts = facts
        self.name = name
        self.notes: list[str] = []
        """Remarks on how the model runs that a report must show, such as an allowed fallback."""
        self.chunks_at_once = 1
        """Chunks that make a full launch, which takes no more."""
        self.launches_at_once = 1
        """Launches that may be in flight before the first of them is waited for."""
        self.chunk_dtypes: frozenset[str] = frozenset({"float32"})
        """Types in which the model takes features; others are converted to float32."""
        self.finds_bad_rows = False
        """Whether a launch itself reports patches that are not finite; otherwise `check_chunk`
        looks for them."""
        self.budget: Budget | None = None
        """Number of slots that a slide is folded to; None keeps all. See `set_budget`."""
        self._is_open = False

    def set_budget(self, budget: Budget | None) -> None:
        """Set how many slots a slide is folded to, for a model with nested budgets.

        Args:
            budget: One of the model's budgets; ``auto``, which chooses one for each slide; or None
                for all slots.

        Raises:
            UsageError: The model has no such budget, or takes slides whole.
        """
        budgets, path = self.facts.budgets, self.facts.path
        if budget is not None and not budgets:
            raise UsageError(
                f"{path} gives {self.facts.num_slots} slots a slide and no other number",
                hint="train with --nested, and export with --graph chunked",
            )
        if budget not in (None, "auto", *budgets):
            known = ", ".join(map(str, budgets))
            raise UsageError(f"{path} has budgets of {known} slots, not {budget}")
        self.budget = budget

    @property
    def budget_text(self) -> str | None:
        """Return the budget as slot files record it; None where none is set."""
        return None if self.budget is None else str(self.budget)

    def __enter__(self) -> Self:
        self._open()
        self._is_open = True
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_open = False
        self._close()

    def run(
        self,
        features: NDArray[Any],
        lengths: NDArray[Any],
        coords: NDArray[Any] | None = None,
    ) -> RuntimeOutput:
        """Compress a padded batch of bags.

        Args:
            features: Patch features [B, N, D], of any floating type. Rows beyond a bag's length
                are ignored.
            lengths: Patches of each bag, [B], integers from 0 to N.
            coords: Patch positions (x, y) in µm, [B, N, 2]; needed by a model with places, ignored
                by others.

        Raises:
            ShapeError: Shapes, types or sizes do not fit the model, coords are needed and missing,
                or half precision overflowed.
            NonFiniteFeatureError: A real patch has a NaN or an infinity; the error names its bag
                and row.
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
        places = self._batch_places(coords, num_patches, padded.shape[:2], lengths)
        output = self._run(padded, lengths, places)
        self.require_finite(output.slots)
        return replace(
            output,
            assignments=output.assignments[:, :num_patches],
            weights=output.weights[:, :num_patches],
            salience=None if output.salience is None else output.salience[:, :num_patches],
        )

    def _batch_places(
        self,
        coords: NDArray[Any] | None,
        num_patches: int,
        shape: tuple[int, ...],
        lengths: NDArray[np.int64],
    ) -> NDArray[np.float64] | None:
        """Return the patch positions of a padded batch of that shape, if the model takes them."""
        if not self.facts.spatial:
            return None
        if coords is None:
            raise ShapeError(NEEDS_PLACES)
        expected = (shape[0], num_patches, 2)
        if coords.shape != expected:
            raise ShapeError(f"coords must be {list(expected)}, got {list(coords.shape)}")
        places = np.zeros((*shape, 2))
        for bag, given, length in zip(places, coords, lengths, strict=True):
            bag[:length] = given[:length]
            require_places(bag)
        return places

    def compress(
        self, bags: Sequence[NDArray[Any]], coords: Sequence[NDArray[Any]] | None = None
    ) -> list[EncodedBag]:
        """Compress whole bags of any sizes, each padded to the largest of its launch.

        Args:
            bags: Patch features of each bag, [N, D], of any floating type.
            coords: Patch positions of each bag, [N, 2] in µm; see `run`.

        Returns:
            The slots and the routing of each bag, in the order of the bags.

        Raises:
            ShapeError: Shapes, types or sizes do not fit the model, coords are needed and missing,
                or half precision overflowed.
            NonFiniteFeatureError: A patch has a NaN or an infinity; the error names its bag within
                the launch, and its row.
        """
        encoded: list[EncodedBag] = []
        most = self.facts.max_batch or max(1, len(bags))
        for begin in range(0, len(bags), most):
            launch = slice(begin, begin + most)
            encoded += self._compress(bags[launch], None if coords is None else coords[launch])
        return encoded

    def _compress(
        self, bags: Sequence[NDArray[Any]], coords: Sequence[NDArray[Any]] | None
    ) -> list[EncodedBag]:
        for bag in bags:  # before memory is allocated by the D that the model states
            check_features(self.facts, bag)
        lengths = np.array([len(bag) for bag in bags])
        features = np.zeros((len(bags), lengths.max(), self.facts.feature_dim), np.float32)
        for row, bag in zip(features, bags, strict=True):
            row[: len(bag)] = bag
        places = None
        if coords is not None:
            if [np.shape(given) for given in coords] != [(len(bag), 2) for bag in bags]:
                raise ShapeError("coords must be [N, 2] of each bag, one row a patch")
            places = np.zeros((*features.shape[:2], 2))
            for at, given in zip(places, coords, strict=True):
                at[: len(given)] = given
        output = self.run(features, lengths, places)
        return [
            EncodedBag(
                slots=output.slots[b],
                mass=output.mass[b],
                assignments=output.assignments[b, :length],
                weights=output.weights[b, :length],
                salience=None if output.salience is None else output.salience[b, :length],
                logits=None if output.logits is None else output.logits[b],
                tokens=None if output.tokens is None else output.tokens[b],
            )
            for b, length in enumerate(lengths)
        ]

    def encode(
        self,
        features: NDArray[Any] | Iterable[NDArray[Any]],
        coords: NDArray[Any] | None = None,
        mpp: float | None = None,
    ) -> EncodedSlide:
        """Compress one slide.

        Args:
            features: Patch features [N, D], of any floating type, or chunks of them, which are
                taken one after another.
            coords: Positions of the patches, [N, 2], in any unit; corners or centres, and the
                slots' centroids and spread are of the same.
            mpp: Microns per unit of the coords; needed by a model with places.

        Raises:
            ShapeError: Shapes, types or sizes do not fit the model, coords or mpp are needed and
                missing, or half precision overflowed.
            NonFiniteFeatureError: A patch has a NaN or an infinity; the error names its row,
                counted over all chunks.
        """
        self._require_open()
        chunks = [features] if isinstance(features, np.ndarray) else features
        checked = self._checked(chunks, coords)
        if self.facts.chunk_patches is None:
            slide = self._encode_whole(checked, has_coords=coords is not None, mpp=mpp)
        else:
            sums = self.no_sums(has_coords=coords is not None, mpp=mpp)
            for part, positions in self._streamed(rows_of(checked, self.facts.chunk_patches)):
                sums.add(part, positions)
            (slide,) = self.finish([sums])
        self.require_finite(slide.slots)
        return slide

    def require_finite(self, slots: NDArray[np.float32]) -> None:
        """Refuse slots that are not finite though the features were: float16 overflowed.

        Raises:
            ShapeError: The model takes float16, and a slot has a NaN or an infinity.
        """
        if self.facts.input_dtype == "float16" and not np.isfinite(slots).all():
            raise ShapeError(
                "the slots are not finite: these features are too large for half precision",
                hint="export with --precision fp32",
            )

    def no_sums(self, *, has_coords: bool, mpp: float | None = None) -> SlideSums:
        """Return the sums of a slide to which no chunk has been added yet.

        Args:
            has_coords: Whether the chunks come with their positions.
            mpp: Microns per unit of the positions; ignored unless the model has places, since only
                their moments need it.
        """
        mpp = mpp if self.facts.spatial else None
        return SlideSums(self.facts.num_slots, self.facts.feature_dim, has_coords, mpp)

    def check_chunk(self, chunk: NDArray[Any], first_row: int) -> Features:
        """Check a chunk of a slide and return it as `launch` takes it; may run in any thread.

        A runtime that `finds_bad_rows` itself leaves NaN and infinity to the launch.

        Args:
            chunk: Features [n, D] of any floating type.
            first_row: Row of its first patch within the slide.

        Raises:
            ShapeError: The shape or the type does not fit the model, or a feature is beyond the
                range of the type that it takes.
            NonFiniteFeatureError: A patch has a NaN or an infinity; the error names its row.
        """
        if chunk.ndim != 2:
            shape = list(chunk.shape)
            raise ShapeError(f"features must be [N, {self.facts.feature_dim}], got {shape}")
        check_features(self.facts, chunk)
        features = chunk
        if chunk.dtype.name not in self.chunk_dtypes or not chunk.dtype.isnative:
            features = chunk.astype(np.float32, copy=False)
        if not self.finds_bad_rows:
            check_finite(features, first_row=first_row)
        check_range(features, self.facts.input_dtype, first_row=first_row)
        return features

    def launch(self, chunks: Sequence[Features]) -> Pending:
        """Begin to compute the sums that chunks add to their slides, if the runtime streams.

        Args:
            chunks: At most `chunks_at_once` of at most ``facts.chunk_patches`` rows each, as
                `check_chunk` returns them, of any slides.

        Returns:
            A function that waits for the launch and returns the sums of each chunk; for a chunk
            with a bad row they name that row instead (`ChunkSums.bad_row`). The functions of
            several launches are called in order, each before `launches_at_once` more have begun.
        """
        self._require_open()
        return self._launch(chunks)

    def finish(self, sums: Sequence[SlideSums]) -> list[EncodedSlide]:
        """Make the slots of slides whose chunks have all been added, if the runtime streams.

        Slots may not be finite where half precision overflowed; see `require_finite`.
        """
        self._require_open()
        folded = [self._folded(slide) for slide in sums]
        shape = (len(sums), self.facts.num_slots)
        means = np.zeros((*shape, self.facts.feature_dim), np.float32)
        masses = np.zeros(shape, np.float32)  # slots beyond a budget are empty
        for s, slide in enumerate(folded):
            means[s, : slide.num_slots], masses[s, : slide.num_slots] = slide.mean(), slide.mass
        moments = None
        if self.facts.spatial:
            moments = np.zeros((*shape, VECTOR_LENGTH), np.float32)
            for s, slide in enumerate(folded):
                moments[s, : slide.num_slots] = slide.moments()
        found = self._refine(Means(means, masses, moments))
        return [
            EncodedSlide(
                slots=found.slots[s, : slide.num_slots],
                mass=slide.mass,
                places=slide.places,
                num_patches=slide.num_patches,
                means=means[s, : slide.num_slots],
                unfolded=None if slide is sums[s] else sums[s],
                logits=None if found.logits is None else found.logits[s],
                tokens=None if found.tokens is None else found.tokens[s, : slide.num_slots],
            )
            for s, slide in enumerate(folded)
        ]

    def _folded(self, slide: SlideSums) -> SlideSums:
        """Return a slide's sums, folded to the budget if one is set."""
        budget = self.budget
        if budget == "auto":
            budget = choose_budget(slide.weighted_sum, slide.mass, self.facts.auto_share)
        return slide if budget in (None, slide.num_slots) else slide.fold(budget)

    @abstractmethod
    def _open(self) -> None:
        """Allocate what the model needs."""

    @abstractmethod
    def _close(self) -> None:
        """Free what `_open` allocated."""

    @abstractmethod
    def _run(
        self,
        features: Features,
        lengths: NDArray[np.int64],
        coords: NDArray[np.float64] | None,
    ) -> RuntimeOutput:
        """Run a checked batch; rows beyond the lengths are zero, coords are in µm."""

    def _launch(self, chunks: Sequence[Features]) -> Pending:
        """Compute a launch at once; a backend may do so asynchronously. See `launch`."""
        found = self._sum_up(chunks)
        return lambda: found

    @abstractmethod
    def _sum_up(self, chunks: Sequence[Features]) -> list[ChunkSums]:
        """Compute the sums that each chunk adds to its slide."""

    @abstractmethod
    def _refine(self, means: Means) -> Refined:
        """Compute the slots and the head's output of slides from their means."""

    def _encode_whole(
        self, chunks: Iterator[Chunk], *, has_coords: bool, mpp: float | None
    ) -> EncodedSlide:
        """Run one slide from its checked chunks, all of which a full graph needs at once."""
        parts = list(chunks)
        num_patches = sum(len(part) for part, _ in parts)
        # a graph runs on at least one row; for an empty bag that row is padding
        rows = max(num_patches, self.facts.patches.min)
        if len(parts) == 1 and rows == num_patches:
            features: NDArray[Any] = np.ascontiguousarray(parts[0][0])
        else:
            is_half = bool(parts) and all(part.dtype == np.float16 for part, _ in parts)
            dtype = np.float16 if is_half else np.float32
            features = np.zeros((rows, self.facts.feature_dim), dtype)
            np.concatenate([features[:0], *(part for part, _ in parts)], out=features[:num_patches])
        positions = None
        if has_coords:
            positions = np.concatenate(
                [np.empty((0, 2)), *(xy for _, xy in parts if xy is not None)]
            )
        lengths = np.array([num_patches])
        in_um = None
        if positions is not None and mpp is not None and self.facts.spatial:
            require_scale(mpp)
            in_um = positions[None] * mpp
        batch_places = self._batch_places(in_um, num_patches, (1, rows), lengths)
        output = self._run(features[None], lengths, batch_places)
        places = None
        if positions is not None:
            salience = None if output.salience is None else output.salience[0, :num_patches]
            places = SlotMoments.of(
                output.assignments[0, :num_patches],
                counted(output.weights[0, :num_patches], salience),
                positions,
                self.facts.num_slots,
                mpp if self.facts.spatial else None,
            )
        return EncodedSlide(
            output.slots[0],
            output.mass[0],
            places,
            num_patches,
            logits=None if output.logits is None else output.logits[0],
            tokens=None if output.tokens is None else output.tokens[0],
        )

    def _streamed(
        self, chunks: Iterator[Chunk]
    ) -> Iterator[tuple[ChunkSums, NDArray[np.float64] | None]]:
        """Yield the sums and positions of each chunk; the next chunks are prepared meanwhile."""
        under_way: deque[tuple[list[Chunk], Pending]] = deque()
        try:
            while launch := list(islice(chunks, self.chunks_at_once)):
                under_way.append((launch, self._launch([features for features, _ in launch])))
                if len(under_way) == self.launches_at_once:
                    yield from _waited_for(*under_way.popleft())
            while under_way:
                yield from _waited_for(*under_way.popleft())
        finally:  # after an error too a launch is waited for, before its memory is used again
            for _, pending in under_way:
                pending()

    def _checked(
        self, chunks: Iterable[NDArray[Any]], coords: NDArray[Any] | None
    ) -> Iterator[Chunk]:
        """Check the chunks of a slide, and yield them as the model takes them, with positions."""
        if coords is not None and (coords.ndim != 2 or coords.shape[1] != 2):
            raise ShapeError(f"coords must be [N, 2], got {list(coords.shape)}")
        begin = 0
        for chunk in chunks:
            features = self.check_chunk(chunk, begin)
            end = begin + len(chunk)
            check_size(self.facts, end)
            yield features, None if coords is None else coords[begin:end].astype(np.float64)
            begin = end
        if coords is not None and coords.shape != (begin, 2):
            raise ShapeError(f"coords must be [{begin}, 2], got {list(coords.shape)}")

    def _require_open(self) -> None:
        if not self._is_open:
            raise RuntimeError("a runtime is a context manager: with open_runtime(...) as runtime")


def _waited_for(
    chunks: Sequence[Chunk], pending: Pending
) -> Iterator[tuple[ChunkSums, NDArray[np.float64] | None]]:
    for (_, positions), part in zip(chunks, pending(), strict=True):
        yield part, positions
