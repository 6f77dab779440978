"""A run whose slots are known beforehand: the gate reads one-hot features, one slot for each."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from tcssa import CompressorConfig, SlotCompressor
from tcssa.mil.classifier.slide_classifier import ClassifierConfig, SlideClassifier
from tcssa.mil.classifier.slot_pool import PoolName
from tcssa.mil.cohort.cohort import CohortSlide

NUM_SLOTS, FEATURE_DIM = 4, 16


def planted_model(
    pool: PoolName = "mean", *, top_k: int = 1, num_classes: int = 2, seed: int = 0
) -> SlideClassifier:
    """Slot k takes the patches whose feature k is 1; experts and head are random."""
    torch.manual_seed(seed)
    compressor = SlotCompressor(
        CompressorConfig(feature_dim=FEATURE_DIM, num_slots=NUM_SLOTS, top_k=top_k, hidden_dim=6)
    )
    with torch.no_grad():
        compressor.router.gate.weight.copy_(6 * torch.eye(NUM_SLOTS, FEATURE_DIM))
        compressor.router.gate.bias.zero_()
    classes = [f"class{c}" for c in range(num_classes)]
    return SlideClassifier(
        compressor, ClassifierConfig(classes=classes, head_dim=6, pool=pool)
    ).eval()


def patches_of(counts: list[int], seed: int = 0) -> NDArray[np.float32]:
    """Patches of which ``counts[k]`` go to slot k, with noise in the features no gate reads."""
    kinds = np.repeat(np.arange(NUM_SLOTS), counts)
    features = np.zeros((len(kinds), FEATURE_DIM), np.float32)
    features[np.arange(len(kinds)), kinds] = 1
    noise = np.random.default_rng(seed).normal(0, 1, (len(kinds), FEATURE_DIM - NUM_SLOTS))
    features[:, NUM_SLOTS:] = noise
    return features


def slide_of(name: str, label: int = 0, case: str | None = None) -> CohortSlide:
    """A slide that no file stands behind."""
    return CohortSlide(name, case or name, label, Path(f"{name}.h5"), 1)


def plant(run: Path, features: Path) -> None:
    """Make a trained run's models `planted_model` and its cohort's features planted.

    Slides of the second class have six patches in slot 2, the others one; no slide any in slot 3.
    """
    from tcssa.config.settings import RESOLVED_FILE, read_yaml, validate
    from tcssa.mil.cohort.cohort import read_cohort
    from tcssa.mil.settings import MilSettings

    for number, path in enumerate(sorted(features.glob("*.h5"))):
        counts = [3 + number % 3, 4, 6 if number % 2 else 1, 0]
        with h5py.File(path, "r+") as file:
            del file["features"], file["coords"]
            planted = patches_of(counts, seed=number)
            file.create_dataset("features", data=planted).attrs["encoder"] = "test_encoder"
            corners = np.stack([np.arange(len(planted)) * 64, np.full(len(planted), 64)], axis=1)
            file.create_dataset("coords", data=corners).attrs["patch_size_level0"] = 64
    for fold in run.glob("fold-*"):
        model = planted_model(num_classes=2)
        model.save(fold / "checkpoint.safetensors")
    settings = validate(MilSettings, read_yaml(run / RESOLVED_FILE))
    content = json.loads((run / "run.json").read_text())
    content["cohort"] = read_cohort(settings.cohort).fingerprint()
    (run / "run.json").write_text(json.dumps(content))
