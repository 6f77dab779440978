"""One model at several numbers of slots, beside models trained at each of them.

    python benchmarks/nested_budgets.py --cohort COHORT --out FOLDER [--seeds 5] [--rate 4/64]

The bags and the figures are those of ``diluted_tumour.py``. ``nested`` is one run of `tcssa
train-mil --nested` a seed, whose test slides are classified at every budget and at the automatic
one; ``trained at K`` are runs with ``--num-slots K``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diluted_tumour import auc_of, job_of, write_cohort
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from tcssa.budgets import choose_budget
from tcssa.features import read_labels
from tcssa.features.opening import read_features
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.results.prediction_tables import read_predictions
from tcssa.mil.tasks.classes import Classes

BUDGETS = (4, 8, 16, 32)


def main() -> None:
    """Train and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True, help="slides and labels.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rate", default="4/64", help="tumour patches of a bag's")
    parser.add_argument("--bags", type=int, default=3, help="bags of each slide")
    given = parser.parse_args()
    labels = {slide.slide_id: slide.label for slide in read_labels(given.cohort / "labels.csv")}
    folder = given.out / given.rate.replace("/", "-of-")
    write_cohort(job_of(given.cohort, given.out), folder, given.rate, labels, given.bags)
    nested, trained, slots, full = [], [], [], []
    for seed in range(given.seeds):
        full.append(auc_of(folder, "tcssa", seed))
        auc_of(folder, "tcssa, nested", seed, keep=True)
        aucs, mean_slots = at_budgets(folder, folder / "runs" / f"tcssa--nested-{seed}")
        nested.append(aucs)
        slots.append(mean_slots)
        trained.append([auc_of(folder, f"tcssa, K = {k}", seed) for k in BUDGETS[:-1]])
        print(f"seed {seed}: nested {np.round(aucs, 3)}, auto {mean_slots:.1f} slots", flush=True)
    table = Table(title=f"AUC at {given.rate}, mean ± SD of {given.seeds} seeds")
    for title in ("", *(f"K' = {k}" for k in BUDGETS), "auto"):
        table.add_column(title)
    table.add_row("nested, one checkpoint", *map(spread, np.array(nested).T))
    table.add_row("trained at K'", *map(spread, np.array(trained).T), spread(np.array(full)))
    table.add_row("mean slots", *map(str, BUDGETS), spread(np.array(slots)))
    Console(width=140).print(table)


def spread(values: np.ndarray) -> str:
    """Write mean and standard deviation of seeds."""
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"


@torch.no_grad()
def at_budgets(folder: Path, run: Path) -> tuple[list[float], float]:
    """Classify a run's test slides, each by the fold that did not know it.

    Returns:
        The mean AUC of the folds at every budget and at the automatic one, and the mean number of
        slots of the automatic one.
    """
    aucs, sizes = [], []
    for place in sorted(run.glob("fold-*")):
        model = SlideClassifier.load(place / "checkpoint.safetensors")
        rows = read_predictions(place / "predictions.csv", Classes(model.config.classes))
        scores: list[list[float]] = [[] for _ in (*BUDGETS, "auto")]
        for row in rows:
            bag = torch.from_numpy(read_features(folder / "bags" / f"{row.slide_id}.h5"))
            state = model.compressor.aggregate([bag])[0].state
            share = model.compressor.config.auto_share
            auto = choose_budget(state.weighted_sum.numpy(), state.mass.numpy(), share)
            sizes.append(auto)
            for found, budget in zip(scores, (*BUDGETS, auto), strict=True):
                model.budget = budget
                found.append(float(model([bag]).logits[0].softmax(dim=0)[1]))
        aucs.append([roc_auc_score([row.label for row in rows], found) for found in scores])
    return np.mean(aucs, axis=0).tolist(), float(np.mean(sizes))


if __name__ == "__main__":
    main()
