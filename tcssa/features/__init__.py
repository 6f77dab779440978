"""Bags of patch features on disk, and the tables that name them."""

from __future__ import annotations

from tcssa.features.bag import Bag
from tcssa.features.feature_set_path import BagRef
from tcssa.features.folder import features_folder, find_all_bags, find_bags, index_bags
from tcssa.features.labels import read_labels
from tcssa.features.opening import open_bag, read_features
from tcssa.features.tables import LabelledSlide

__all__ = [
    "Bag",
    "BagRef",
    "LabelledSlide",
    "features_folder",
    "find_all_bags",
    "find_bags",
    "index_bags",
    "open_bag",
    "read_features",
    "read_labels",
]
