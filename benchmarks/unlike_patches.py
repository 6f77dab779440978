"""How well statistics of training patches tell slides like those of training from others.

    python benchmarks/unlike_patches.py TRAIN SAME OTHER [OTHER …]

Each argument is a folder of feature files of one encoder: the slides of training, new ones made
alike, and slides of another resolution, organ or stain. A threshold is the 99 % quantile over the
training patches; printed is the mean share of a slide's patches beyond it. 0.01 is wanted for SAME
and 1 for OTHER. tcssa keeps the first, `tcssa.mil.bags.familiar`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from tcssa.features import find_bags, read_features
from tcssa.mil.bags.familiar import MAX_PATCHES, QUANTILE

Floats = NDArray[Any]
_COMPONENTS = 64


def main() -> None:
    """Print the share of each statistic for each folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="TRAIN SAME OTHER …")
    train, *others = parser.parse_args().folders
    patches = np.concatenate(list(slides(train).values()))
    patches = patches[np.random.default_rng(0).permutation(len(patches))[:MAX_PATCHES]]
    print(f"{len(patches)} patches of training")
    for name, distance in distances(patches).items():
        farthest = np.quantile(distance(patches), QUANTILE)
        for folder in others:
            shares = [float((distance(x) > farthest).mean()) for x in slides(folder).values()]
            print(
                f"{name:28} {folder}: mean {np.mean(shares):.3f}, most {max(shares):.3f}, "
                f"{len(shares)} slides"
            )


def slides(folder: Path) -> dict[str, Floats]:
    """Read the features of the slides of a folder."""
    return {ref.slide_id: read_features(ref).astype(np.float32) for ref in find_bags([folder])}


def distances(patches: Floats) -> dict[str, Callable[[Floats], Floats]]:
    """Return functions from patches [n, D] to distances [n], fitted to patches of training."""
    mean, sd = patches.mean(0), patches.std(0)
    sd = np.maximum(sd, 0.01 * sd.mean())
    means = KMeans(32, n_init=1, random_state=0).fit(patches)
    _, spread, axes = np.linalg.svd((patches - mean) / sd, full_matrices=False)
    axes, spread = axes[:_COMPONENTS], spread[:_COMPONENTS] / np.sqrt(len(patches))

    def whitened(x: Floats) -> Floats:
        scores = ((x - mean) / sd) @ axes.T / spread
        within: Floats = (scores**2).mean(1)
        return within

    def residual(x: Floats) -> Floats:
        z = (x - mean) / sd
        rest: Floats = ((z - z @ axes.T @ axes) ** 2).mean(1)
        return rest

    return {
        "each feature in its SD": lambda x: (((x - mean) / sd) ** 2).mean(1),
        "nearest of 32 means": lambda x: means.transform(x).min(1),
        "residual of 64 components": residual,
        "Mahalanobis of 64 components": whitened,
    }


if __name__ == "__main__":
    main()
