"""Few tumour patches among many: how the slots are pooled, beside attention over patches.

    python benchmarks/diluted_tumour.py --cohort COHORT --out FOLDER [--seeds 3] [--tumour 2]

From each of the 40 lung slides of COHORT bags of 16 patches are drawn, two of them tumour and the
rest normal lung (which tile is which stands in ``lung_tumour_tiles.csv``). The label is the kind of
tumour, LUAD or LUSC. `tcssa train-mil` runs five folds, split by slide, for every variant and seed;
the epoch is chosen on validation slides, the test slides are looked at once.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from learn_to_see import tcssa
from lung_questions import write_mixed_bags
from rich.console import Console
from rich.table import Table

from tcssa.features import read_labels

VARIANTS: dict[str, list[str]] = {
    "abmil": ["--model", "abmil"],
    "tcssa (the paper's: mean)": [],
    "tcssa, pool attention": ["--pool", "attention"],
    "tcssa, pool max": ["--pool", "max"],
    "tcssa, pool mass": ["--pool", "mass"],
    "tcssa, no balance loss": ["--aux-weight", "0"],
    "tcssa, lr 1e-4": ["--lr", "1e-4"],
    "tcssa, embed 128, pool attention": ["--embed-dim", "128", "--pool", "attention"],
}
BAG_PATCHES = 16


def main() -> None:
    """Train every variant with every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True, help="slides and labels.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tumour", type=int, default=2, help="tumour patches of a bag's 16")
    parser.add_argument("--bags", type=int, default=8, help="bags of each slide")
    parser.add_argument("--slots", type=int, default=8, help="K")
    parser.add_argument("--lr", type=float, default=3e-4)
    arguments = parser.parse_args()
    out = arguments.out
    table = arguments.cohort / "labels.csv"
    labels = {slide.slide_id: slide.label for slide in read_labels(table)}
    tcssa("extract", arguments.cohort, "--out", out / "job", "--patch-size", 112)
    bags = write_mixed_bags(
        out / "job", out / "bags", BAG_PATCHES, arguments.tumour, arguments.bags, seed=0
    )
    rows = ["case_id,slide_id,label"]
    rows += [f"{slide},{name},{labels[slide]}" for name, slide in bags.items()]
    (out / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    table = Table(title=f"{arguments.tumour} tumour patches of {BAG_PATCHES}, {len(bags)} bags")
    for title in ("", "AUC, mean of seeds", "of each seed", "folds, mean ± SD"):
        table.add_column(title)
    for variant, options in VARIANTS.items():
        pooled, folds = [], []
        for seed in range(arguments.seeds):
            name = "".join(c if c.isalnum() else "-" for c in variant)
            run = out / "runs" / f"{name}-{seed}"
            tcssa(
                "train-mil", "--labels", out / "labels.csv", "--features", out / "bags",
                "--num-slots", arguments.slots, "--lr", arguments.lr, "--batch-size", 16,
                "--seed", seed, *options, "--out", run,
            )  # fmt: skip
            metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
            pooled.append(metrics["pooled"]["auc"]["value"])
            folds += [fold["test"]["auc"] for fold in metrics["folds"]]
        table.add_row(
            variant,
            f"{np.mean(pooled):.3f}",
            ", ".join(f"{auc:.3f}" for auc in pooled),
            f"{np.mean(folds):.3f} ± {np.std(folds):.3f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
