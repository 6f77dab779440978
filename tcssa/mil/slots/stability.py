"""Separation of patches by their slots, and agreement of slots between separate models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tcssa.errors import RunError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.slots.inspection import SlotInspection
from tcssa.mil.slots.meaning import SlotStability, stability
from tcssa.mil.slots.routed import RoutedSlide, model_folder, model_name
from tcssa.run import CHECKPOINT_FILE
from tcssa.statistics.metrics import Ints

_MOST_FOR_SILHOUETTE = 2000
"""Most patches of a silhouette, which needs the distances of all pairs."""
MAX_PATCHES = 5000
"""Most patches that models are compared on, an equal share from every test slide."""


def stability_of(
    found: SlotInspection, store: BagStore, against: Path | None, device: torch.device
) -> list[SlotStability]:
    """Match the slots of folds, or of a run's folds with those of another run.

    Args:
        found: The inspection, with its run, folds and test slides.
        store: Reader of features.
        against: The other run; None compares every two folds.
        device: Device that the models run on.

    Raises:
        RunError: The other run has more slots, lacks a fold, or takes other features.
        CheckpointError: A checkpoint is damaged.
    """
    patches = _sample(found.slides, store, MAX_PATCHES)
    folds = {model_name(fold): found.run / model_folder(fold) for fold in found.epochs}
    firsts = {name: _first_slots(folder, patches, device) for name, folder in folds.items()}
    if against is None:
        pairs = list(combinations(firsts, 2))
    else:
        pairs = []
        for name, folder in folds.items():
            other = against / folder.name
            if not (other / CHECKPOINT_FILE).is_file():
                raise RunError(against, f"has no checkpoint of {name}", hint="give a finished run")
            firsts[f"{against.name} {name}"] = _first_slots(other, patches, device)
            pairs.append((name, f"{against.name} {name}"))
    if any(int(first.max(initial=0)) >= found.num_slots for first in firsts.values()):
        raise RunError(against or found.run, f"has more than {found.num_slots} slots")
    return [
        stability(firsts[one], firsts[other], (one, other), found.num_slots) for one, other in pairs
    ]


def silhouettes_of(
    found: SlotInspection, store: BagStore, device: torch.device
) -> dict[int, float | None]:
    """Compute how well the first slots of each fold's model separate patches by their features.

    The silhouette (Rousseeuw 1987) of a patch is (b - a) / max(a, b), where a is its mean distance
    to the patches of its own slot and b to those of the nearest other slot; here the mean over test
    patches. 1: slots are clusters far from each other; 0: they touch; below 0: they are mixed.

    Args:
        found: The inspection, with its run, folds and test slides.
        store: Reader of features.
        device: Device that the models run on.

    Returns:
        The mean silhouette by fold; None where all patches go to one slot, or each to its own.
    """
    from sklearn.metrics import silhouette_score

    scores: dict[int, float | None] = {}
    for fold in found.epochs:
        of_fold = [routed for routed in found.slides if routed.fold == fold]
        patches = _sample(of_fold, store, _MOST_FOR_SILHOUETTE)
        first = _first_slots(found.run / model_folder(fold), patches, device)
        is_defined = 1 < len(np.unique(first)) < len(first)
        scores[fold] = float(silhouette_score(patches.numpy(), first)) if is_defined else None
    return scores


def _sample(routed_slides: Sequence[RoutedSlide], store: BagStore, num_patches: int) -> Tensor:
    """Draw an equal number of patches from every slide, [M, D]; always the same ones."""
    slides = list({routed.slide.path: routed.slide for routed in routed_slides}.values())
    patches, _ = store.sample(slides, num_patches, np.random.default_rng(0))
    return patches


@torch.no_grad()
def _first_slots(folder: Path, patches: Tensor, device: torch.device) -> Ints:
    model = SlideClassifier.load(folder / CHECKPOINT_FILE).to(device)
    compressor = model.compressor
    if compressor.config.patch_dim != patches.shape[1]:
        reason = f"takes features of D = {compressor.config.patch_dim}, not {patches.shape[1]}"
        raise RunError(folder, reason, hint="give a run of the same features")
    seen = compressor.embedded(patches.to(device))
    first: Ints = compressor.router(seen).indices_NT[:, 0].cpu().numpy()
    return first
