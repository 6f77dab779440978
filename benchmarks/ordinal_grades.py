"""Six grades learnt as classes and as grades, on bags whose features are planted.

    python benchmarks/ordinal_grades.py --out FOLDER [--seeds 3]

Ninety slides of 20 patches; the mean of every second feature rises by 0.25 a grade, with 0.15 of
noise a slide. `tcssa train-mil` runs five folds with every seed. Quadratic weighted kappa is of
the likeliest grade and of the median one, so that the loss and the rule can be told apart.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import h5py
import numpy as np

from tcssa.mil.results.prediction_tables import read_predictions
from tcssa.mil.settings import CohortSettings, MilSettings, ModelSettings, TrainSettings
from tcssa.mil.tasks import Ordinal
from tcssa.mil.training.train import train
from tcssa.reporter import Silent
from tcssa.statistics.metrics import weighted_kappa

GRADES = tuple("012345")
NUM_SLIDES, NUM_PATCHES, FEATURE_DIM = 90, 20, 16


def main() -> None:
    """Train both kinds with every seed and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    labels = write_slides(options.out)
    print("kind     seed  kappa, likeliest  kappa, median  Brier")
    for kind in ("classes", "ordinal"):
        for seed in range(options.seeds):
            likeliest, median, brier = figures(options.out, labels, kind, seed)
            print(f"{kind:9}{seed:4}{likeliest:18.3f}{median:15.3f}{brier:7.3f}")


def write_slides(out: Path) -> Path:
    """Bags and their label table; the same every time."""
    rng = np.random.default_rng(0)
    (out / "features").mkdir(parents=True, exist_ok=True)
    with (out / "labels.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["slide_id", "case_id", "label"])
        for slide in range(NUM_SLIDES):
            grade = slide % len(GRADES)
            patches = rng.standard_normal((NUM_PATCHES, FEATURE_DIM)).astype(np.float32)
            patches[:, ::2] += 0.25 * grade + 0.15 * rng.standard_normal()
            with h5py.File(out / "features" / f"s{slide:02d}.h5", "w") as file:
                file["features"] = patches
            table.writerow([f"s{slide:02d}", f"p{slide:02d}", GRADES[grade]])
    return out / "labels.csv"


def figures(out: Path, labels: Path, kind: str, seed: int) -> tuple[float, float, float]:
    """Kappa of the likeliest and of the median grade, and Brier, over all test slides."""
    data = {"labels": labels, "features": out / "features", "kind": kind}
    settings = MilSettings(
        cohort=CohortSettings.model_validate(data),
        model=ModelSettings(num_slots=4, hidden_dim=16, head_dim=16),
        train=TrainSettings(lr=5e-3, seed=seed),
    )
    run = out / f"{kind}-{seed}"
    metrics = train(settings, run, Silent())
    grades = Ordinal(GRADES)
    rows = read_predictions(run / "predictions.csv", metrics.task)
    scored = grades.scored(rows)
    median = grades.metrics["weighted_kappa"](scored.truth, scored.values)
    likeliest = weighted_kappa(scored.truth, scored.values)
    assert median is not None  # every grade occurs
    assert likeliest is not None
    return likeliest, median, metrics.pooled["brier"]["value"]


if __name__ == "__main__":
    main()
