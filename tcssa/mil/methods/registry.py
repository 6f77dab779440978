"""Methods by name, and users' own methods as ``module:factory``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tcssa.errors import UnknownNameError, UsageError
from tcssa.mil.methods.abmilx import ABMILX
from tcssa.mil.methods.base import BagClassifier
from tcssa.mil.methods.clam import CLAM
from tcssa.mil.methods.dsmil import DSMIL
from tcssa.mil.methods.mamba2d import Mamba2D
from tcssa.mil.methods.pooling import ABMIL, MaxPooling, MeanPooling
from tcssa.mil.methods.rrt import RRTMIL
from tcssa.mil.methods.transmil import TransMIL
from tcssa.plugins import load_factory

Factory = Callable[[int, int], BagClassifier]
"""Builds a model from D and the number of classes."""

METHODS: dict[str, Factory] = {
    "2dmamba": Mamba2D,
    "abmil": ABMIL,
    "abmilx": ABMILX,
    "clam_mb": partial(CLAM, multi_branch=True),
    "clam_sb": partial(CLAM, multi_branch=False),
    "dsmil": DSMIL,
    "max": MaxPooling,
    "mean": MeanPooling,
    "rrt": RRTMIL,
    "transmil": TransMIL,
}
"""All but ``tcssa``, which has settings of its own (`tcssa.mil.classifier.slide_classifier`)."""


def build_method(name: str, feature_dim: int, num_classes: int) -> BagClassifier:
    """Build a method with fresh weights.

    Args:
        name: One of `METHODS`, or ``module:factory`` for a function of D and the number of
            classes that returns a `BagClassifier`.
        feature_dim: D.
        num_classes: C.

    Raises:
        UnknownNameError: There is no method of this name.
        UsageError: A user's factory cannot be imported or returns something else.
    """
    if ":" in name:
        return _build_from(name, feature_dim, num_classes)
    if name not in METHODS:
        raise UnknownNameError("model", name, ["tcssa", *METHODS])
    return METHODS[name](feature_dim, num_classes)


def _build_from(name: str, feature_dim: int, num_classes: int) -> BagClassifier:
    factory = load_factory("model", name)
    model = factory(feature_dim, num_classes)
    if not isinstance(model, BagClassifier):
        raise UsageError(
            f"{name} returned a {type(model).__name__}, which is no BagClassifier",
            hint="subclass tcssa.mil.methods.BagClassifier or OneByOne",
        )
    return model
