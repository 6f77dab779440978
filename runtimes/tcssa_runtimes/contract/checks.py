"""Checks of a runtime's input, made before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import (
    FeatureDimError,
    FeatureFileError,
    NonFiniteFeatureError,
    ShapeError,
    UsageError,
)
from tcssa_runtimes.contract.chunks import Features
from tcssa_runtimes.contract.model_info import ModelFacts

_HALF_INFINITY, _HALF_MINUS_INFINITY = 0x7C00, 0xFC00
"""Bits of float16's infinities. Those of finite numbers are smaller: than the first when read as
int16, where negative numbers are below zero; than the second when read as uint16."""
_ROWS = 2048
"""Rows that are checked together: they stay in a core's cache."""


def require_fitting(facts: ModelFacts, path: Path, feature_dim: int, encoder: str | None) -> None:
    """Refuse a slide that the model was not made for, before its features are read.

    Args:
        facts: The model.
        path: The slide's feature file.
        feature_dim: D of its features.
        encoder: Name of their encoder; None if it was not recorded.

    Raises:
        FeatureFileError: D or the encoder is not the model's.
    """
    if feature_dim != facts.feature_dim:
        raise FeatureDimError(path, facts.feature_dim, feature_dim)
    if None not in (encoder, facts.encoder) and encoder != facts.encoder:
        raise FeatureFileError(
            path,
            f"its features are of {encoder!r}, the model was trained on {facts.encoder!r}",
            hint="use features of the encoder that the model was trained on",
        )


def require_own_slots(facts: ModelFacts) -> None:
    """Refuse an ensemble where slots are to be kept: its members' stand side by side.

    Raises:
        UsageError: The model is an ensemble.
    """
    if facts.members > 1:
        raise UsageError(
            f"{facts.path} holds the slots of {facts.members} models, and classifies slides only",
            hint="give it to tcssa predict; for slots export one model: --what compressor",
        )


def require_places(facts: ModelFacts, path: Path, mpp: float | None, *, has_coords: bool) -> None:
    """Refuse a slide whose file lacks the positions that the model needs.

    Args:
        facts: The model.
        path: The slide's feature file.
        mpp: Microns per unit of its coordinates, if known.
        has_coords: Whether it has coordinates.

    Raises:
        FeatureFileError: The model has places, and coordinates or mpp are missing.
    """
    if facts.spatial and not (has_coords and mpp):
        missing = "how many µm a pixel is (mpp_level0)" if has_coords else "where its patches lie"
        raise FeatureFileError(
            path,
            f"does not say {missing}, which the model reads",
            hint="extract it with tcssa extract, or tcssa convert it with --slide-mpp",
        )


def check_batch(
    facts: ModelFacts, features: NDArray[Any], lengths: NDArray[Any]
) -> NDArray[np.int64]:
    """Check the shapes, types and sizes of a padded batch, but not yet its values.

    Args:
        facts: The model.
        features: To be [B, N, D], of any floating type.
        lengths: Patches of each bag; to be [B] integers from 0 to N.

    Returns:
        The lengths as int64.

    Raises:
        ShapeError: A shape, a type or a size does not fit the model.
    """
    if features.ndim != 3 or len(features) == 0:
        raise ShapeError(f"features must be [B, N, {facts.feature_dim}], got {features.shape}")
    check_features(facts, features)
    batch, num_patches, _ = features.shape
    if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
        raise ShapeError(f"lengths must be {batch} integers, got {lengths.dtype} {lengths.shape}")
    if lengths.min() < 0 or lengths.max() > num_patches:
        raise ShapeError(f"lengths must be 0 to N = {num_patches}, got {lengths.tolist()}")
    if facts.max_batch is not None and batch > facts.max_batch:
        raise ShapeError(
            f"{batch} bags exceed the model's limit of {facts.max_batch} at once",
            hint="give fewer at once, or export again with a larger --max-batch",
        )
    check_size(facts, num_patches)
    return lengths.astype(np.int64)


def check_features(facts: ModelFacts, features: NDArray[Any]) -> None:
    """Check the type and the last axis of features.

    Args:
        facts: The model.
        features: To be [..., D], of any floating type.

    Raises:
        ShapeError: The type is not floating point, or D is not the model's.
    """
    if features.dtype.kind != "f":
        raise ShapeError(
            f"features must be floating point, got {features.dtype}",
            hint="convert them: features.astype(np.float32)",
        )
    if features.shape[-1] != facts.feature_dim:
        raise ShapeError(
            f"features have D = {features.shape[-1]}, the model takes D = {facts.feature_dim}",
            hint="use features of the encoder that the model was trained on",
        )


def check_size(facts: ModelFacts, num_patches: int) -> None:
    """Check that a bag has no more patches than the model takes.

    Args:
        facts: The model.
        num_patches: N.

    Raises:
        ShapeError: N is above the model's limit.
    """
    if facts.patches.max is not None and num_patches > facts.patches.max:
        raise ShapeError(
            f"N = {num_patches} patches exceed the model's limit of {facts.patches.max}",
            hint="export again with a larger --max-patches, or encode with --runtime torch and "
            "the run itself, which takes any number",
        )


def check_finite(features: Features, *, first_row: int = 0, where: str | None = None) -> None:
    """Check patches [n, D] for NaN and infinity.

    Args:
        features: The patches.
        first_row: Row of the first of them within the bag.
        where: Name of the bag for the error's text, e.g. ``bag 3``.

    Raises:
        NonFiniteFeatureError: A patch has a NaN or an infinity; the error names its row.
    """
    for begin in range(0, len(features), _ROWS):
        rows = features[begin : begin + _ROWS]
        if not _surely_finite(rows) and not (is_finite := np.isfinite(rows).all(axis=1)).all():
            raise NonFiniteFeatureError(first_row + begin + int(np.argmin(is_finite)), where=where)


def _surely_finite(features: Features) -> bool:
    """Tell whether a quick test proves features finite; it fails where their sum overflows."""
    if features.size == 0:
        return True
    if features.dtype == np.float16:  # NumPy adds halves slowly; their bits tell as much
        return bool(
            features.view(np.int16).max() < _HALF_INFINITY
            and features.view(np.uint16).max() < _HALF_MINUS_INFINITY
        )
    # A sum is not finite if an entry is not, and makes no second array as np.isfinite does; no
    # product with ones either, for which every reading thread would start BLAS's threads.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(features.sum()))


def check_range(
    features: Features, dtype: str, *, first_row: int = 0, where: str | None = None
) -> None:
    """Check that patches [n, D] fit into the range of the type that the model takes.

    Args:
        features: Finite features.
        dtype: ``float32``, into which all of them fit, or ``float16``.
        first_row: Row of the first patch within the bag.
        where: Name of the bag for the error's text, e.g. ``bag 3``.

    Raises:
        ShapeError: A feature is beyond the type's range; the error names its row.
    """
    if dtype in ("float32", features.dtype.name) or not features.size:
        return
    largest = float(np.finfo(dtype).max)
    if max(features.max(), -features.min()) <= largest:
        return
    row = int(np.argmax(np.abs(features).max(axis=1) > largest))
    raise ShapeError(
        f"{f'{where}: ' if where else ''}row {first_row + row} holds a feature beyond "
        f"{largest:g}, the largest of {dtype}, which this artefact takes",
        hint="export with --precision fp32",
    )
