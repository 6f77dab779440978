"""Methods of multiple-instance learning other than TC-SSA itself; one file each."""

from __future__ import annotations

from tcssa.mil.methods.base import BagClassifier, BagsLogits, OneByOne, PlacedClassifier
from tcssa.mil.methods.registry import METHODS, build_method

__all__ = ["METHODS", "BagClassifier", "BagsLogits", "OneByOne", "PlacedClassifier", "build_method"]
