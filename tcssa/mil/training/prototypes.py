"""A gate initialised by k-means of the training patches (`tcssa.compressor.prototypes`).

The patch nearest to each prototype is noted in the fold's folder: it shows where the slot began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tcssa.compressor.prototypes import MAX_PATCHES, begin_at
from tcssa.errors import TableError
from tcssa.files import atomic
from tcssa.files.boundary import reading
from tcssa.files.table import read_table
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.cohort.cohort import CohortSlide

PROTOTYPES_FILE = "prototypes.csv"
_HEADER = ["slot", "slide_id", "patch", "distance"]


@dataclass(frozen=True)
class PrototypePatch:
    """The training patch nearest to the prototype that a slot began at."""

    slot: int
    slide_id: str
    patch: int
    """Row of the patch in the slide's features."""
    distance: float
    """Euclidean distance from the prototype, in the features that the gate sees."""


@torch.no_grad()
def begin_gate(
    model: SlideClassifier, slides: Sequence[CohortSlide], store: BagStore, seed: int
) -> list[PrototypePatch]:
    """Set the gate of a classifier to prototypes of its training patches.

    Args:
        model: The classifier; its gate is changed.
        slides: The training slides.
        store: Reads their features.
        seed: Seed of the choice of patches and of k-means.

    Returns:
        The patch nearest to each prototype; an empty list if too few patches differ, in which case
        the gate is not changed.
    """
    drawn, origins = store.sample(slides, MAX_PATCHES, np.random.default_rng(seed))
    compressor = model.compressor
    patches = compressor.embedded(drawn.to(compressor.router.gate.weight.device)).cpu()
    prototypes = begin_at(compressor, patches, seed)
    if prototypes is None:
        return []
    exact = "donot_use_mm_for_euclid_dist"  # the product cancels where means are large
    distances, nearest = torch.cdist(prototypes, patches, compute_mode=exact).min(dim=1)
    found = []
    for slot, (row, distance) in enumerate(zip(nearest.tolist(), distances.tolist(), strict=True)):
        slide_id, patch = origins[row]
        found.append(PrototypePatch(slot, slide_id, patch, distance))
    return found


def write_prototypes(folder: Path, prototypes: Sequence[PrototypePatch]) -> None:
    """Write the patches to ``prototypes.csv``.

    Args:
        folder: The fold's folder.
        prototypes: The patch nearest to each prototype.
    """
    rows = [[each.slot, each.slide_id, each.patch, each.distance] for each in prototypes]
    atomic.write_csv(folder / PROTOTYPES_FILE, _HEADER, rows)


def read_prototypes(folder: Path) -> list[PrototypePatch]:
    """Read what `write_prototypes` wrote; the list is empty if the gate began otherwise.

    Raises:
        TableError: The table is damaged.
    """
    path = folder / PROTOTYPES_FILE
    if not path.exists():
        return []
    table = read_table(path, needed=_HEADER)
    with reading(path, TableError):
        return [
            PrototypePatch(
                int(row["slot"]), row["slide_id"], int(row["patch"]), float(row["distance"])
            )
            for row in table.rows.values()
        ]
