"""Results that runtimes return.

Shapes: B bags, N patches, S slides, D features, K slots, T = top_k, C classes, H width of a
language model. Arrays are NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tcssa.files import atomic
from tcssa.moments import VECTOR_LENGTH
from tcssa.optional import require
from tcssa_runtimes.contract.slot_picture import slot_picture

if TYPE_CHECKING:
    from PIL.Image import Image

    from tcssa.moments import SlotMoments
    from tcssa_runtimes.contract.routing import Routing
    from tcssa_runtimes.contract.slide_sums import SlideSums


@dataclass(frozen=True)
class RuntimeOutput:
    """Slots and routing of a padded batch, or of one bag, whose arrays have no first axis."""

    slots: NDArray[np.float32]
    """Refined slots, [B, K, D]."""
    mass: NDArray[np.float32]
    """Sum of routing weights of each slot, [B, K]; 0 marks an empty slot."""
    assignments: NDArray[np.int64]
    """Slots of each patch, most probable first, [B, N, T]; -1 for padding."""
    weights: NDArray[np.float32]
    """Routing probabilities P̃ of these slots, [B, N, T]; 0 for padding."""
    salience: NDArray[np.float32] | None = None
    """Factor of each patch's weights in all sums, [B, N]; 0 for padding. None: all are 1."""
    logits: NDArray[np.float32] | None = None
    """Logits of a classifier, [B, C]; None for other models."""
    tokens: NDArray[np.float32] | None = None
    """Tokens of a projector, [B, K, H]; None for other models."""

    def of_bag(self, bag: int, num_patches: int) -> Self:
        """Return the output of one bag: the same arrays without the first axis and without padding.

        Args:
            bag: Its row in the batch.
            num_patches: Its patches.
        """
        return replace(
            self,
            slots=self.slots[bag],
            mass=self.mass[bag],
            assignments=self.assignments[bag, :num_patches],
            weights=self.weights[bag, :num_patches],
            salience=None if self.salience is None else self.salience[bag, :num_patches],
            logits=None if self.logits is None else self.logits[bag],
            tokens=None if self.tokens is None else self.tokens[bag],
        )


@dataclass(frozen=True)
class Means:
    """Means of several slides, from which their slots are refined."""

    means: NDArray[np.float32]
    """Weighted mean of each slot's patches, [S, K, D]; 0 for an empty slot."""
    masses: NDArray[np.float32]
    """Sum of routing weights of each slot, [S, K]."""
    moments: NDArray[np.float32] | None = None
    """Moments of the positions of each slot's patches, [S, K, M] (`tcssa.moments`); only for a
    model with places."""

    @classmethod
    def of(cls, sums: Sequence[SlideSums], num_slots: int, *, with_moments: bool) -> Self:
        """Return the means of slides; slots beyond those of a folded slide are empty.

        Args:
            sums: The sums of each slide.
            num_slots: K of the model.
            with_moments: Whether the model has places.

        Raises:
            ShapeError: The model has places, and a slide no coordinates, or of unknown mpp.
        """
        shape = (len(sums), num_slots)
        means = np.zeros((*shape, sums[0].feature_dim), np.float32)
        masses = np.zeros(shape, np.float32)
        moments = np.zeros((*shape, VECTOR_LENGTH), np.float32) if with_moments else None
        for s, slide in enumerate(sums):
            means[s, : slide.num_slots], masses[s, : slide.num_slots] = slide.mean(), slide.mass
            if moments is not None:
                moments[s, : slide.num_slots] = slide.moments()
        return cls(means, masses, moments)


@dataclass(frozen=True)
class Refined:
    """Refined slots of several slides, and the output of the model's head."""

    slots: NDArray[np.float32]
    """Refined slots, [S, K, D]."""
    logits: NDArray[np.float32] | None = None
    """Logits of a classifier, [S, C]; None for other models."""
    tokens: NDArray[np.float32] | None = None
    """Tokens of a projector, [S, K, H]; None for other models."""


@dataclass(frozen=True)
class EncodedSlide:
    """Slots of one slide; with a nested budget, K is the budget's number of slots."""

    slots: NDArray[np.float32]
    """Refined slots, [K, D]."""
    mass: NDArray[np.float32]
    """Sum of routing weights of each slot, [K]; 0 marks an empty slot."""
    places: SlotMoments | None
    """Moments of the positions of each slot's patches, in the unit in which positions were given;
    None where none were given."""
    num_patches: int
    means: NDArray[np.float32] | None = None
    """Weighted mean of each slot's patches, before its expert, [K, D]; 0 for an empty slot. None
    where the graph does not return it."""
    unfolded: SlideSums | None = None
    """Sums of all the model's slots, from which these were folded; None where none were folded."""
    logits: NDArray[np.float32] | None = None
    """Logits of a classifier, [C]; None for other models."""
    tokens: NDArray[np.float32] | None = None
    """Tokens of a projector, [K, H]; None for other models."""
    routing: Routing | None = None
    """Which of all the model's slots each patch went to; None of sums that were merged."""

    @property
    def centroids(self) -> NDArray[np.float64] | None:
        """Return the weighted mean position of each slot's patches, [K, 2]; NaN for an empty slot.

        None where no positions were given.
        """
        return None if self.places is None else self.places.centroids()

    @property
    def spread(self) -> NDArray[np.float64] | None:
        """Return the weighted standard deviation of the positions, [K, 2]; see `centroids`."""
        return None if self.places is None else self.places.spread()

    def to_dataframe(self) -> Any:  # pandas is optional
        """Return a table (`pandas.DataFrame`) of the slots, one row each, indexed by ``slot``.

        Its columns are ``mass``, the slot's features ``f0, f1, …``, and where positions were given
        ``x``, ``y``, ``spread_x`` and ``spread_y``; these are NaN for an empty slot.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        columns = self._places_and_mass()
        columns |= {f"f{d}": column for d, column in enumerate(self.slots.T)}
        table = require("pandas", "pandas").DataFrame(columns)
        return table.rename_axis("slot")

    def to_anndata(self) -> Any:  # anndata is optional
        """Return the slots as `anndata.AnnData`: an observation a slot, in ``X`` its features.

        Where positions were given, ``obsm["spatial"]`` holds the centroids and ``obsm["spread"]``
        the deviations, NaN for an empty slot. ``obs`` has the mass, and the columns of the
        positions; ``layers["means"]`` the slots before their experts, if they are known;
        ``uns["tcssa"]`` the number of patches, and the logits of a classifier.

        Raises:
            MissingExtraError: anndata is not installed.
        """
        anndata, pandas = require("anndata", "anndata"), require("pandas", "anndata")
        names = [f"slot{k}" for k in range(len(self.mass))]
        facts: dict[str, Any] = {"num_patches": self.num_patches}
        if self.logits is not None:
            facts["logits"] = self.logits
        places = {"spatial": self.centroids, "spread": self.spread}
        return anndata.AnnData(
            X=self.slots,
            obs=pandas.DataFrame(self._places_and_mass(), index=names),
            var=pandas.DataFrame(index=[f"f{d}" for d in range(self.slots.shape[1])]),
            obsm={name: values for name, values in places.items() if values is not None},
            layers={} if self.means is None else {"means": self.means},
            uns={"tcssa": facts},
        )

    def plot(self, path: Path | str | None = None, *, patch_size: float | None = None) -> Image:
        """Return a picture of which slot each patch went to, which a notebook shows.

        Args:
            path: PNG to write too.
            patch_size: Side of a patch, in the unit in which positions were given; None takes the
                step of their grid.

        Raises:
            UsageError: No positions were given.
        """
        picture = slot_picture(self.routing, patch_size)
        if path is not None:
            with atomic.replacing(Path(path)) as temporary:
                picture.save(temporary, "PNG")
        return picture

    def _places_and_mass(self) -> dict[str, NDArray[Any]]:
        columns: dict[str, NDArray[Any]] = {"mass": self.mass}
        for centre, names in ((self.centroids, "x y"), (self.spread, "spread_x spread_y")):
            if centre is not None:
                columns |= dict(zip(names.split(), centre.T, strict=True))
        return columns
