"""A model on one device, in the parts that every runtime runs: what is below `Runtime`.

Some models take a slide whole. Where `ModelFacts.chunk_patches` is set, the runtime streams:
`launch` computes the sums that chunks add to their slides, and `finish` makes the slots of slides
whose chunks have all been added. Both take chunks or slides of any origin together, which is how
`tcssa_runtimes.contract.slide_accumulator` fills its launches.

A backend implements `_open`, `_close`, `_run`, and, if it streams, `_sum_up` and `_refine`; one
that computes asynchronously also overrides `_launch`.

Shapes: B bags, N patches, n rows of a chunk, S slides, D features of a patch, and of a slot unless
`ModelFacts.slot_dim` differs, K slots. Arrays are NumPy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tcssa.budgets import Budget, choose_budget
from tcssa.errors import ShapeError, UsageError
from tcssa.moments import SlotMoments, require_scale
from tcssa_runtimes.contract.checks import check_features, check_finite, check_range
from tcssa_runtimes.contract.chunks import Chunk, Features, Positions
from tcssa_runtimes.contract.launch import Computed, Launch
from tcssa_runtimes.contract.model_info import ModelFacts
from tcssa_runtimes.contract.outputs import EncodedSlide, Means, Refined, RuntimeOutput
from tcssa_runtimes.contract.padding import batch_places
from tcssa_runtimes.contract.routing import Routing
from tcssa_runtimes.contract.slide_sums import ChunkSums, SlideSums, counted


class ModelRunner(ABC):
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
        return SlideSums(self.facts.num_slots, self.facts.slot_dim, has_coords, mpp)

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

    def launch(self, chunks: Sequence[Features]) -> Launch:
        """Begin to compute the sums that chunks add to their slides, if the runtime streams.

        Args:
            chunks: At most `chunks_at_once` of at most ``facts.chunk_patches`` rows each, as
                `check_chunk` returns them, of any slides.

        Returns:
            The handle that waits for the launch; see `Launch` for the order of several.
        """
        self._require_open()
        return self._launch(chunks)

    def finish(self, sums: Sequence[SlideSums], *, filled_to: int = 1) -> list[EncodedSlide]:
        """Make the slots of slides whose chunks have all been added, if the runtime streams.

        Slots may not be finite where half precision overflowed; see `require_finite`.

        Args:
            sums: The sums of each slide.
            filled_to: Slides to run on at least. Empty ones fill up, so that the last bits of a
                slide's slots do not depend on how many others come with it.

        Returns:
            The slides in the order of their sums.
        """
        self._require_open()
        folded = [self._folded(slide) for slide in sums]
        filling = [self.no_sums(has_coords=False)] * (filled_to - len(sums))
        means = Means.of([*folded, *filling], self.facts.num_slots, with_moments=self.facts.spatial)
        found = self._refine(means)
        return [
            EncodedSlide(
                slots=found.slots[s, : slide.num_slots],
                mass=slide.mass,
                places=slide.places,
                num_patches=slide.num_patches,
                means=means.means[s, : slide.num_slots],
                unfolded=None if slide is sums[s] else sums[s],
                routing=Routing.joined(sums[s].routing) if sums[s].routing else None,
                logits=None if found.logits is None else found.logits[s],
                tokens=None if found.tokens is None else found.tokens[s, : slide.num_slots],
            )
            for s, slide in enumerate(folded)
        ]

    def run_whole(
        self, parts: Sequence[Chunk], *, has_coords: bool, mpp: float | None
    ) -> EncodedSlide:
        """Run one slide, all of which a full graph needs at once.

        Args:
            parts: Its patches in order, as `check_chunk` returns them.
            has_coords: Whether they come with positions.
            mpp: Microns per unit of the positions; needed by a model with places.
        """
        self._require_open()
        num_patches = sum(len(part.features) for part in parts)
        features = self._whole_features(parts, num_patches)
        positions: Positions | None = None
        if has_coords:
            xy = [part.positions for part in parts if part.positions is not None]
            positions = np.concatenate([np.empty((0, 2)), *xy])
        lengths = np.array([num_patches])
        in_um = None
        if positions is not None and mpp is not None and self.facts.spatial:
            require_scale(mpp)
            in_um = positions[None] * mpp
        given = batch_places(self.facts, in_um, num_patches, (1, len(features)), lengths)
        output = self._run(features[None], lengths, given).of_bag(0, num_patches)
        places = None
        if positions is not None:
            places = SlotMoments.of(
                output.assignments,
                counted(output.weights, output.salience),
                positions,
                self.facts.num_slots,
                mpp if self.facts.spatial else None,
            )
        return EncodedSlide(
            output.slots,
            output.mass,
            places,
            num_patches,
            logits=output.logits,
            tokens=output.tokens,
            routing=Routing.of(
                output.assignments,
                output.weights,
                output.salience,
                positions,
                self.facts.num_slots,
            ),
        )

    def _whole_features(self, parts: Sequence[Chunk], num_patches: int) -> Features:
        """Join the features of a slide; an empty one gets the row of padding that a graph needs."""
        rows = max(num_patches, self.facts.patches.min)
        if len(parts) == 1 and rows == num_patches:
            alone: NDArray[Any] = np.ascontiguousarray(parts[0].features)
            return alone
        is_half = bool(parts) and all(part.features.dtype == np.float16 for part in parts)
        whole: NDArray[Any] = np.zeros(
            (rows, self.facts.feature_dim), np.float16 if is_half else np.float32
        )
        np.concatenate([whole[:0], *(part.features for part in parts)], out=whole[:num_patches])
        return whole

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

    def _launch(self, chunks: Sequence[Features]) -> Launch:
        """Compute a launch at once; a backend may do so asynchronously. See `launch`."""
        return Computed(self._sum_up(chunks))

    @abstractmethod
    def _sum_up(self, chunks: Sequence[Features]) -> list[ChunkSums]:
        """Compute the sums that each chunk adds to its slide."""

    @abstractmethod
    def _refine(self, means: Means) -> Refined:
        """Compute the slots and the head's output of slides from their means."""

    def _require_open(self) -> None:
        if not self._is_open:
            raise RuntimeError("a runtime is a context manager: with open_runtime(...) as runtime")
