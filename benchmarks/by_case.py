"""Patients of three slides, of which one alone tells the label: trained by slide and by case.

    python benchmarks/by_case.py FOLDER

Sixty patients of two classes, three slides of 40 patches of noise (D = 32); of one class, one slide
of each patient has 4 patches that are shifted. Scored are patients; those of a run by slide by the
mean of their slides' logits, as ``tcssa predict --by case`` does.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np

import tcssa
from tcssa.mil.results.prediction_tables import read_predictions
from tcssa.mil.tasks.classes import Classes
from tcssa.statistics.metrics import auc

CLASSES = ("LUAD", "LUSC")


def draw(folder: Path) -> None:
    """Write ``labels.csv`` and the features of all slides."""
    (folder / "features").mkdir(parents=True, exist_ok=True)
    rng, rows = np.random.default_rng(0), ["case_id,slide_id,label"]
    for patient in range(60):
        label, telling = patient % 2, rng.integers(3)
        for slide in range(3):
            patches = rng.standard_normal((40, 32)).astype(np.float32)
            patches += 0.3 * rng.standard_normal(32).astype(np.float32)
            if label and slide == telling:
                patches[:4, ::2] += 1.2
            name = f"p{patient:02d}-{slide}"
            with h5py.File(folder / "features" / f"{name}.h5", "w") as file:
                file.create_dataset("features", data=patches).attrs["encoder"] = "drawn"
            rows.append(f"p{patient:02d},{name},{CLASSES[label]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


def patient_auc(run: Path) -> float | None:
    """Return the AUC of a run's test patients."""
    logits, labels = defaultdict(list), {}
    for row in read_predictions(run / "predictions.csv", Classes(CLASSES)):
        other, this = np.clip(row.probs, 1e-12, None)
        logits[row.case_id].append(np.log(this / other))
        labels[row.case_id] = row.label
    odds = np.array([np.mean(logits[case]) for case in labels])
    sure = 1 / (1 + np.exp(-odds))
    return auc(np.array([*labels.values()]), np.stack([1 - sure, sure], axis=1))


def main() -> None:
    """Draw, train and print the figures."""
    folder = Path(sys.argv[1])
    draw(folder)
    for seed in range(3):
        for unit in ("slide", "case"):
            run = folder / f"{unit}-{seed}"
            tcssa.train(
                labels=folder / "labels.csv", features=folder / "features", out=run,
                model="abmil", final="none", unit=unit, seed=seed,
            )  # fmt: skip
            print(f"seed {seed}, by {unit}: AUC of patients {patient_auc(run):.3f}")


if __name__ == "__main__":
    main()
