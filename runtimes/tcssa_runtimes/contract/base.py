"""The contract of every runtime.

A runtime is a context manager: it allocates on entering, frees on leaving, and checks what it is
given before it runs. Some take a slide as a whole. Those whose facts tell `chunk_patches` stream
it: they `launch` chunks, which gives what these add to their slides, and `finish` slides whose
chunks are all in. Both take several at once, of any slides, which is what
`tcssa_runtimes.archive.launch_scheduler` does.

A backend fills in `_open`, `_close`, `_run`, and, if it streams, `_sum_up` and `_refine`; one that
computes beside the caller also `_launch`. Backends of artefacts are made in
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
from tcssa.moments import VECTOR_LENGTH, SlotMoments
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
        facts: The model.
        name: What runs where, e.g. ``onnx (cpu)``.
    """

    def __init__(self, facts: ModelFacts, name: str) -> None:
        self.facts = facts
        self.name = name
        self.notes: list[str] = []
        """What a report must say of how the model runs, such as a fallback that was allowed."""
        self.chunks_at_once = 1
        """Chunks that a launch takes best."""
        self.launches_at_once = 1
        """Launches that may be under way before the first of them is waited for."""
        self.chunk_dtypes: frozenset[str] = frozenset({"float32"})
        """Types that the model takes features in; others come as float32."""
        self.finds_bad_rows = False
        """Whether what a launch gives tells of a patch that is not finite; else `check_chunk`
        looks for them."""
        self.budget: Budget | None = None
        """Slots that a slide becomes where its sums are folded; None: all. See `set_budget`."""
        self._is_open = False

    def set_budget(self, budget: Budget | None) -> None:
        """Let slides become fewer slots, of a model with nested budgets.

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
        """Return the budget as files of slots note it; None where there is none."""
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
            features: Patch features [B, N, D], of any floating type. What stands beyond a bag's
                length is never looked at.
            lengths: Patches of each bag, [B], integers from 0 to N.
            coords: Where patches lie, (x, y) in µm, [B, N, 2]; a model with places needs them, no
                other looks at them.

        Raises:
            ShapeError: Shapes, types or sizes do not fit the model, or coords are needed and
                missing.
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
        places = self._batch_places(coords, padded.shape[:2], lengths)
        output = self._run(padded, lengths, places)
        self.require_finite(output.slots)
        return replace(
            output,
            assignments=output.assignments[:, :num_patches],
            weights=output.weights[:, :num_patches],
            salience=None if output.salience is None else output.salience[:, :num_patches],
        )

    def _batch_places(
        self, coords: NDArray[Any] | None, shape: tuple[int, ...], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64] | None:
        """Return where the patches of a padded batch lie, [B, N, 2], if the model is told."""
        if not self.facts.spatial:
            return None
        if coords is None:
            raise ShapeError("a model with places needs coordinates, in µm")
        if coords.shape != (shape[0], coords.shape[1], 2) or coords.shape[1] < lengths.max():
            raise ShapeError(f"coords must be [B, N, 2], got {list(coords.shape)}")
        places = np.zeros((*shape, 2))
        for bag, given, length in zip(places, coords, lengths, strict=True):
            bag[:length] = given[:length]
        return places

    def compress(
        self, bags: Sequence[NDArray[Any]], coords: Sequence[NDArray[Any]] | None = None
    ) -> list[EncodedBag]:
        """Compress whole bags of any sizes, each padded to the largest of its launch.

        Args:
            bags: Patch features of each bag, [N, D], of any floating type.
            coords: Where the patches of each bag lie; see `run`.

        Raises:
            ShapeError: Shapes, types or sizes do not fit the model.
            NonFiniteFeatureError: A patch has a NaN or an infinity; it names bag and row.
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
        for bag in bags:  # before memory is taken by the D that the model claims
            check_features(self.facts, bag)
        lengths = np.array([len(bag) for bag in bags])
        features = np.zeros((len(bags), lengths.max(), self.facts.feature_dim), np.float32)
        for row, bag in zip(features, bags, strict=True):
            row[: len(bag)] = bag
        places = None
        if coords is not None:
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
            features: Its patches [N, D], of any floating type, or chunks of them, which are
                taken one after another.
            coords: Positions of the patches, [N, 2], in any unit: corners or centres, the
                footprint is of what is given.
            mpp: Microns of a unit of the coords, which a model with places needs.

        Raises:
            ShapeError: Shapes, types or sizes do not fit the model, or what it needs is missing.
            NonFiniteFeatureError: A patch has a NaN or an infinity; the row counts over all
                chunks.
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
        """Refuse slots that are no numbers, though the features were: float16 overflowed.

        Raises:
            ShapeError: They are not.
        """
        if self.facts.input_dtype == "float16" and not np.isfinite(slots).all():
            raise ShapeError(
                "the slots are not finite: these features are too large for half precision",
                hint="export with --precision fp32",
            )

    def no_sums(self, *, has_coords: bool, mpp: float | None = None) -> SlideSums:
        """Return the sums of a slide none of whose chunks has been seen.

        Args:
            has_coords: Whether the chunks come with their positions.
            mpp: Microns of a unit of the positions; the moments that need them are summed up only
                for a model with places.
        """
        mpp = mpp if self.facts.spatial else None
        return SlideSums(self.facts.num_slots, self.facts.feature_dim, has_coords, mpp)

    def check_chunk(self, chunk: NDArray[Any], first_row: int) -> Features:
        """A chunk of a slide in the form that `launch` takes; may run in any thread.

        Of a runtime that `finds_bad_rows` itself, values are looked at by the launch.

        Args:
            chunk: Features [n, D] of any floating type.
            first_row: Number of the first of them within the slide.

        Raises:
            ShapeError: Shape or type do not fit the model.
            NonFiniteFeatureError: A patch has a NaN or an infinity; it names the row.
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
        """Begin to compute what each chunk adds to its slide. Of a runtime that streams.

        Args:
            chunks: At most `chunks_at_once` of at most ``facts.chunk_patches`` rows each, as
                `check_chunk` returns them, of any slides.

        Returns:
            A function that waits for the sums of each chunk, or what tells of a bad row in it
            (`ChunkSums.bad_row`). Of several launches it is called in
            their order, before `launches_at_once` more have begun.
        """
        self._require_open()
        return self._launch(chunks)

    def finish(self, sums: Sequence[SlideSums]) -> list[EncodedSlide]:
        """Slides whose chunks are all in. Of a runtime that streams.

        Slots may not be finite, where half precision overflowed: see `require_finite`.
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
        """Return a slide's sums as its budget has them."""
        budget = self.budget
        if budget == "auto":
            budget = choose_budget(slide.weighted_sum, slide.mass, self.facts.auto_share)
        return slide if budget in (None, slide.num_slots) else slide.fold(budget)

    @abstractmethod
    def _open(self) -> None:
        """Allocate what the model needs."""

    @abstractmethod
    def _close(self) -> None:
        """Free it."""

    @abstractmethod
    def _run(
        self,
        features: Features,
        lengths: NDArray[np.int64],
        coords: NDArray[np.float64] | None,
    ) -> RuntimeOutput:
        """Run a checked batch; rows beyond the lengths are zero. Coords are in µm."""

    def _launch(self, chunks: Sequence[Features]) -> Pending:
        """See `launch`; here it is computed at once."""
        found = self._sum_up(chunks)
        return lambda: found

    @abstractmethod
    def _sum_up(self, chunks: Sequence[Features]) -> list[ChunkSums]:
        """What each chunk adds to its slide."""

    @abstractmethod
    def _refine(self, means: Means) -> Refined:
        """Compute slots and the heads' outputs of slides."""

    def _encode_whole(
        self, chunks: Iterator[Chunk], *, has_coords: bool, mpp: float | None
    ) -> EncodedSlide:
        """Run one slide from its checked chunks, which a full graph needs all at once."""
        parts = list(chunks)
        num_patches = sum(len(part) for part, _ in parts)
        # a graph runs on at least one row; of an empty bag that is padding
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
        in_um = None if positions is None or mpp is None else positions[None] * mpp
        batch_places = self._batch_places(in_um, (1, rows), lengths)
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
        """What each chunk of a slide adds to it; the next ones are prepared meanwhile."""
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
        """The chunks of a slide as the model takes them, with their positions, each checked."""
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
