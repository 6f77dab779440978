"""Opening the bag of one slide, whichever tool wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureDimError, FeatureFileError, NonFiniteFeatureError
from tcssa.features.bag import Bag
from tcssa.features.feature_set_path import BagRef
from tcssa.features.readers.registry import read_bag
from tcssa.files.boundary import reading

_COORDS_WIDTHS = (2, 5)
"""Columns of corners: x, y; AtlasPatch adds read_w, read_h, level."""


def open_bag(bag: BagRef | Path | str) -> Bag:
    """Open the features of one slide.

    Args:
        bag: The slide's file or LazySlide store; ``S.h5::NAME`` if it holds several sets.

    Returns:
        The open bag; use it as a context manager.

    Raises:
        FeatureFileError: The file is missing or broken, holds no bag, lacks the set that was
            named, or cannot be read without running code.
        MissingExtraError: A LazySlide store needs a package that is not installed.
    """
    with reading(str(bag), FeatureFileError):
        opened = read_bag(bag if isinstance(bag, BagRef) else BagRef.parse(bag))
        try:
            _check(opened)
        except FeatureFileError:
            opened.close()
            raise
        return opened


def read_features(bag: BagRef | Path, feature_dim: int | None = None) -> NDArray[Any]:
    """Read and check all patch features of one slide.

    Args:
        bag: The feature file.
        feature_dim: The D that the features must have; None accepts any.

    Returns:
        Features [N, D], in the type they are stored in.

    Raises:
        FeatureFileError: The file cannot be read.
        FeatureDimError: D is not ``feature_dim``.
        NonFiniteFeatureError: A feature is NaN or infinite; the error names file and row.
    """
    with open_bag(bag) as opened:
        features = opened.read()
        if feature_dim not in (None, opened.feature_dim):
            assert feature_dim is not None
            raise FeatureDimError(str(bag), feature_dim, opened.feature_dim)
    finite = np.isfinite(features)
    if not finite.all():
        raise NonFiniteFeatureError(int(np.argmin(finite.all(axis=1))), where=str(bag))
    return np.array(features, order="C")


def _check(bag: Bag) -> None:
    """Check that a bag's shapes, types and attributes are consistent.

    Raises:
        FeatureFileError: The features are not floating point [N, D], the coords do not match them,
            or an attribute has the wrong type.
    """
    shape = bag.features.shape
    fault = None
    # (0,) is TRIDENT's empty bag of an encoder that does not give its D
    if len(shape) != 2 and shape != (0,):
        fault = f"features must be [N, D], found {list(shape)}"
    elif len(shape) == 2 and shape[0] and not shape[1]:
        fault = f"{shape[0]} patches without a single feature"
    elif np.dtype(bag.features.dtype).kind != "f":
        fault = f"features must be floating point, found {bag.features.dtype}"
    elif bag.coords is not None and len(bag.coords) != shape[0]:
        fault = f"{shape[0]} rows of features, but {len(bag.coords)} of coords"
    elif bag.coords is not None and bag.coords.shape[1] not in _COORDS_WIDTHS:
        fault = f"coords must be [N, 2], found {list(bag.coords.shape)}"
    if fault:
        raise FeatureFileError(bag.path, fault)
    _ = bag.encoder, bag.patch_size_level0  # they raise on attributes of another type
