"""Padded batches of bags: features, lengths and positions in one array each.

Shapes: B bags, N patches of the largest bag, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import ShapeError
from tcssa.moments import NEEDS_PLACES, require_places
from tcssa_runtimes.contract.checks import check_features, check_finite, check_range
from tcssa_runtimes.contract.model_info import ModelFacts


class Padded(NamedTuple):
    """Bags of any sizes in one batch; what is beyond a bag's length is zero."""

    features: NDArray[np.float32]
    """[B, N, D]."""
    lengths: NDArray[np.int64]
    """[B]."""
    coords: NDArray[np.float64] | None
    """[B, N, 2]; None where none were given."""


def pad(
    facts: ModelFacts, bags: Sequence[NDArray[Any]], coords: Sequence[NDArray[Any]] | None
) -> Padded:
    """Pad bags to the largest of them.

    Args:
        facts: The model.
        bags: Patch features of each bag, [N, D], of any floating type.
        coords: Patch positions of each bag, [N, 2], if there are any.

    Raises:
        ShapeError: A bag's type or D does not fit the model, or its coords are not [N, 2].
    """
    for bag in bags:  # before memory is allocated by the D that the model states
        check_features(facts, bag)
    lengths = np.array([len(bag) for bag in bags])
    features = np.zeros((len(bags), lengths.max(), facts.feature_dim), np.float32)
    for row, bag in zip(features, bags, strict=True):
        row[: len(bag)] = bag
    if coords is None:
        return Padded(features, lengths, None)
    if [np.shape(given) for given in coords] != [(len(bag), 2) for bag in bags]:
        raise ShapeError("coords must be [N, 2] of each bag, one row a patch")
    places = np.zeros((*features.shape[:2], 2))
    for at, given in zip(places, coords, strict=True):
        at[: len(given)] = given
    return Padded(features, lengths, places)


def checked_features(
    facts: ModelFacts, features: NDArray[Any], lengths: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return a batch as a graph takes it, float32 and finite in every row, padding included.

    Args:
        facts: The model; the batch is padded to the rows that it needs at least.
        features: [B, N, D], of any floating type. Rows beyond a bag's length are ignored.
        lengths: Patches of each bag, [B].

    Raises:
        NonFiniteFeatureError: A real patch has a NaN or an infinity; the error names bag and row.
        ShapeError: A feature is beyond the range of the type that the model takes.
    """
    batch, num_patches, feature_dim = features.shape
    rows = max(num_patches, facts.patches.min)
    if rows > num_patches or lengths.min() < num_patches:
        # a graph multiplies padding by zero, which needs it to be finite
        padded = np.zeros((batch, rows, feature_dim), np.float32)
        for bag, source, length in zip(padded, features, lengths, strict=True):
            bag[:length] = source[:length]
    else:
        padded = np.ascontiguousarray(features, np.float32)
    for index, (bag, length) in enumerate(zip(padded, lengths, strict=True)):
        check_finite(bag[:length], where=f"bag {index}")
        check_range(bag[:length], facts.input_dtype, where=f"bag {index}")
    return padded


def batch_places(
    facts: ModelFacts,
    coords: NDArray[Any] | None,
    num_patches: int,
    shape: tuple[int, ...],
    lengths: NDArray[np.int64],
) -> NDArray[np.float64] | None:
    """Return the patch positions of a padded batch, if the model takes them.

    Args:
        facts: The model.
        coords: Positions in µm, [B, N, 2].
        num_patches: N.
        shape: [B, N] of the batch to make, whose N may be larger.
        lengths: Patches of each bag, [B].

    Raises:
        ShapeError: The model has places, and coords are missing, of another shape or not finite.
    """
    if not facts.spatial:
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
