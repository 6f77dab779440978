"""Likeness of patches to those that a model was trained on.

A patch is unlike the training patches if it lies farther from their mean than all but one in a
hundred of them did, each feature measured in its own standard deviations:

    d²(x) = mean_j ((x_j − μ_j) / σ_j)²        unlike: d² > its 99 % quantile over training patches

So about one patch in a hundred of a slide like those of training counts as unlike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcssa.compressor.checkpoint import read_tensors, write_tensors
from tcssa.errors import CheckpointError
from tcssa.files.boundary import UnsoundError, reading
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.cohort.cohort import CohortSlide

FAMILIAR_FILE = "training_patches.safetensors"
QUANTILE = 0.99
MAX_PATCHES = 20_000
"""Patches that the statistic is of, over all slides together."""
_ROWS = 8192
_SMALLEST = 1e-2
"""Least SD of a feature, as a share of the mean SD: a feature that is nearly constant in training
must not decide alone."""


@dataclass(frozen=True)
class Familiar:
    """Mean and spread of the training patches, and the distance beyond which one is unlike them."""

    mean: Tensor
    """[D]."""
    sd: Tensor
    """[D], all above 0."""
    farthest: float
    """The quantile `QUANTILE` of d² over the training patches."""

    @classmethod
    def of(cls, slides: Sequence[CohortSlide], store: BagStore, seed: int) -> Self:
        """Measure the patches of a training.

        Args:
            slides: The slides that were trained on.
            store: Reads their features.
            seed: Seed of the choice of patches.
        """
        drawn, _ = store.sample(slides, MAX_PATCHES, np.random.default_rng(seed))
        mean, sd = drawn.mean(0), drawn.std(0, correction=0)
        sd = sd.clamp(min=max(float(sd.mean()) * _SMALLEST, torch.finfo(torch.float32).tiny))
        distances = _distances(drawn, mean, sd)
        return cls(mean, sd, float(np.quantile(distances.numpy(), QUANTILE)))

    def unlike(self, features: NDArray[Any]) -> float:
        """Return the share of patches [N, D] that are unlike those of training."""
        count = 0
        for begin in range(0, len(features), _ROWS):
            rows = torch.from_numpy(features[begin : begin + _ROWS].astype(np.float32))
            count += int((_distances(rows, self.mean, self.sd) > self.farthest).sum())
        return count / len(features)

    def save(self, folder: Path) -> None:
        """Write the statistic into a run's folder."""
        tensors = {"mean": self.mean, "sd": self.sd}
        write_tensors(folder / FAMILIAR_FILE, tensors, {"farthest": self.farthest})

    @classmethod
    def read(cls, folder: Path, feature_dim: int) -> Self | None:
        """Read what `save` wrote; None where the run is older than the statistic.

        Args:
            folder: The run's folder.
            feature_dim: D of the run's features.

        Raises:
            CheckpointError: The file is damaged.
        """
        path = folder / FAMILIAR_FILE
        if not path.exists():
            return None
        tensors, facts = read_tensors(path)
        with reading(path, CheckpointError):
            mean, sd, farthest = tensors["mean"], tensors["sd"], float(facts["farthest"])
            if not {tuple(mean.shape), tuple(sd.shape)} == {(feature_dim,)}:
                raise UnsoundError(f"its mean and SD are not of {feature_dim} features")
            if not (torch.isfinite(mean).all() and (sd > 0).all() and farthest >= 0):
                raise UnsoundError("its mean, SD or quantile is no such number")
            return cls(mean.float(), sd.float(), farthest)


def _distances(patches: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    return ((patches - mean) / sd).square().mean(dim=1)
