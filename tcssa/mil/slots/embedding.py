"""Patches in two dimensions: PCA, then t-SNE or UMAP, on a seeded sample of all test patches.

The picture is of the *features*; slots only colour it. t-SNE preserves neighbourhoods and nothing
else: the sizes of its clusters and the distances between them have no meaning.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import TcssaError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.slots.routed import RoutedSlide

MOST_PATCHES = 3000
_LEAST_PATCHES = 8
_PCA_DIM = 50
_PERPLEXITY = 30


Method = Literal["tsne", "umap"]
"""Methods that project patches into the plane."""


@dataclass(frozen=True)
class Embedding:
    """Sampled patches in the plane; arrays are [M] unless noted."""

    method: Method
    slides: list[RoutedSlide]
    """The slide of each patch."""
    patches: NDArray[np.int64]
    """The row of each patch in the slide's features."""
    xy: NDArray[np.float64]
    """Coordinates of each patch in the plane, [M, 2]."""
    num_all: int
    """Number of patches that the sample was drawn from."""

    @property
    def folds(self) -> NDArray[np.int64]:
        """The fold of each patch."""
        return np.array([routed.fold for routed in self.slides])

    @property
    def first(self) -> NDArray[np.int64]:
        """The first slot of each patch, a slot of its own fold's model."""
        pairs = zip(self.slides, self.patches, strict=True)
        return np.array([int(routed.first[patch]) for routed, patch in pairs])


def require_method(method: Method) -> None:
    """Fail early where UMAP is asked for and not installed.

    Raises:
        TcssaError: The method is UMAP, and umap-learn is not installed.
    """
    if method == "umap":
        _umap()


def embed(
    slides: Sequence[RoutedSlide], store: BagStore, method: Method, seed: int
) -> Embedding | None:
    """Draw patches, each as likely as any other, and place them; None if there are too few.

    Args:
        slides: Test slides of all folds.
        store: Reader of their features, rounded if the run's were.
        method: t-SNE or UMAP.
        seed: Seed of the sample and of the projection.
    """
    sizes = np.array([len(routed.slots) for routed in slides])
    num_all = int(sizes.sum())
    if num_all < _LEAST_PATCHES:
        return None
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(num_all, min(MOST_PATCHES, num_all), replace=False))
    begins = np.cumsum(sizes) - sizes
    owners = np.searchsorted(begins, chosen, side="right") - 1
    patches = chosen - begins[owners]
    rows = [
        store.get(slides[i].slide).numpy()[patches[owners == i]].astype(np.float32)
        for i in np.unique(owners)
    ]
    xy = _place(np.concatenate(rows), method, seed)
    return Embedding(method, [slides[i] for i in owners], patches, xy, num_all)


def _place(features: NDArray[np.float32], method: Method, seed: int) -> NDArray[np.float64]:
    from sklearn.decomposition import PCA

    num_dims = min(_PCA_DIM, *features.shape)
    reduced = PCA(num_dims, random_state=seed).fit_transform(features)
    if method == "umap":
        placed = _umap().UMAP(random_state=seed, n_jobs=1).fit_transform(reduced)
    else:
        from sklearn.manifold import TSNE

        perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
        placed = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    return np.asarray(placed, np.float64)


def _umap() -> Any:  # it may not be installed, so its types are not known
    try:
        return importlib.import_module("umap")
    except ModuleNotFoundError as error:
        if error.name != "umap":
            raise
        raise TcssaError(
            "this needs the package 'umap-learn', which is not installed",
            hint="pip install umap-learn, or take --embedding tsne",
        ) from None
