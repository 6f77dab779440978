"""The picture of patches in the plane: of the features that the run's models saw."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from slot_runs import patches_of, planted_model, slide_of

from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.slots.embedding import embed
from tcssa.mil.slots.routed import RoutedSlide, route


def routed(path: Path, features: NDArray[np.float32]) -> RoutedSlide:
    np.save(path, features)
    slide = replace(slide_of(path.stem), path=path, num_patches=len(features))
    return route(planted_model(), torch.from_numpy(features), slide, 0)


def plane(slide: RoutedSlide, store: BagStore) -> NDArray[np.float64]:
    found = embed([slide], store, "tsne", seed=0)
    assert found is not None
    return found.xy


def test_features_are_rounded_where_those_of_the_run_were(tmp_path: Path) -> None:
    features = patches_of([5, 6, 7, 4])
    exact = routed(tmp_path / "exact.npy", features)
    rounded = routed(tmp_path / "rounded.npy", features.astype(np.float16).astype(np.float32))
    seen = plane(exact, BagStore(0, half=True))
    assert np.array_equal(seen, plane(rounded, BagStore(0)))
    assert not np.array_equal(seen, plane(exact, BagStore(0)))
