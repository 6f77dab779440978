"""Few tumour patches among many: TC-SSA beside attention over patches, by share of tumour.

    python benchmarks/diluted_tumour.py --cohort COHORT --out FOLDER [--seeds 5] [--rates 2/16,4/64]

From each of the 40 lung slides of COHORT bags are drawn: so many of its tumour patches, and normal
ones of any slide (which tile is which stands in ``lung_tumour_tiles.csv``). The label is the kind
of tumour, LUAD or LUSC. `tcssa train-mil` runs its defaults in five folds, split by the slide of
the tumour; the epoch is chosen on validation slides, the test slides are looked at once. The figure
of a seed is the mean AUC of its folds, since folds have scales of their own. Seeds 0 and on divide
one draw of bags, by which nothing is chosen; --develop has other seeds, each with bags of its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from learn_to_see import tcssa
from lung_questions import write_mixed_bags
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from tcssa.features import read_labels

VARIANTS: dict[str, list[str]] = {
    "tcssa": [],
    "tcssa --recipe paper": ["--recipe", "paper"],
    "abmil": ["--model", "abmil"],
    "clam_sb": ["--model", "clam_sb"],
    "mean": ["--model", "mean"],
    "tcssa, no salience": ["--no-salience"],
    "tcssa, no prototypes": ["--no-prototypes"],
    "tcssa, gain 1": ["--expert-gain", "1"],
    "tcssa, pool mean": ["--pool", "mean"],
    "tcssa, average 1": ["--average", "1"],
    "abmil, average 1": ["--model", "abmil", "--average", "1"],
    "tcssa, nested": ["--nested"],
    "tcssa, pace 4": ["--salience-pace", "4"],
    "tcssa, embedding, linear head": ["--embed-dim", "128", "--head-dim", "0"],
    "tcssa, K = 4": ["--num-slots", "4"],
    "tcssa, K = 8": ["--num-slots", "8"],
    "tcssa, K = 16": ["--num-slots", "16"],
}
FIRST = 5
"""Variants that are run if none are named."""
DEVELOPMENT_SEED = 10
"""First of the seeds to choose by."""


def main() -> None:
    """Train every variant with every seed at every rate, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True, help="slides and labels.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rates", default="2/16", help="tumour patches of a bag's, with commas")
    parser.add_argument("--bags", type=int, default=3, help="bags of each slide")
    parser.add_argument("--develop", action="store_true", help="seeds and bags to choose by")
    parser.add_argument("--variants", help=f"of {'; '.join(VARIANTS)}, with semicolons")
    arguments = parser.parse_args()
    chosen = list(VARIANTS)[:FIRST]
    if arguments.variants:
        chosen = [name.strip() for name in arguments.variants.split(";")]
    first = DEVELOPMENT_SEED if arguments.develop else 0
    seeds = range(first, first + arguments.seeds)
    labels = {slide.slide_id: slide.label for slide in read_labels(arguments.cohort / "labels.csv")}
    job = job_of(arguments.cohort, arguments.out)
    table = Table(title=f"AUC, mean ± SD of {arguments.seeds} seeds")
    for title in ("", *arguments.rates.split(",")):
        table.add_column(title)
    found: dict[str, list[list[float]]] = {name: [] for name in chosen}
    for rate in arguments.rates.split(","):
        folder = arguments.out / rate.replace("/", "-of-")
        draws = {seed: seed if arguments.develop else 0 for seed in seeds}
        places = {n: Path(f"{folder}-draw-{n}") if n else folder for n in draws.values()}
        for number, place in places.items():
            write_cohort(job, place, rate, labels, arguments.bags, number)
        for name in chosen:
            found[name].append([auc_of(places[n], name, seed) for seed, n in draws.items()])
    for name, rates in found.items():
        spread = (f"{np.mean(each):.3f} ± {np.std(each, ddof=1):.3f}" for each in rates)
        table.add_row(name, *spread)
    Console(width=140).print(table)
    draw(arguments.out / "diluted-tumour.png", arguments.rates.split(","), found)


def job_of(cohort: Path, out: Path) -> Path:
    """Cut the slides into patches of which each lies in one tile; return the job's folder."""
    job = out / "job"
    tcssa("extract", cohort, "--out", job, "--patch-size", 112)
    return job


def write_cohort(
    job: Path, folder: Path, rate: str, labels: dict[str, str], per_slide: int, seed: int = 0
) -> None:
    """Draw the bags of a rate, and write them with their labels."""
    num_tumour, num_patches = map(int, rate.split("/"))
    bags = write_mixed_bags(job, folder / "bags", num_patches, num_tumour, per_slide, seed)
    rows = ["case_id,slide_id,label"]
    rows += [f"{slide},{name},{labels[slide]}" for name, slide in bags.items()]
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def auc_of(folder: Path, variant: str, seed: int, *, keep: bool = False) -> float:
    """Train a variant, and return the mean test AUC of its folds; weights are kept if asked for."""
    run = run_folder(folder, variant, seed)
    auc = train_folds(folder / "labels.csv", folder / "bags", seed, VARIANTS[variant], run)
    if not keep:
        remove_weights(run)
    print(f"{folder.name} {variant} seed {seed}: {auc:.3f}", flush=True)
    return auc


def run_folder(folder: Path, variant: str, seed: int) -> Path:
    """Return the run directory of a variant, by a name that any file system takes."""
    name = "".join(c if c.isalnum() else "-" for c in variant)
    return folder / "runs" / f"{name}-{seed}"


def train_folds(
    labels: Path, features: Path, seed: int, options: Sequence[str], run: Path
) -> float:
    """Train with `tcssa train-mil`, and return the mean test AUC of the folds."""
    tcssa(
        "train-mil", "--labels", labels, "--features", features, "--seed", seed, *options,
        "--out", run,
    )  # fmt: skip
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return float(np.mean([fold["test"]["auc"] for fold in metrics["folds"]]))


def remove_weights(run: Path) -> None:
    """Remove the checkpoints of a run, of which a benchmark makes hundreds."""
    for checkpoint in run.glob("fold-*/checkpoint.safetensors"):
        checkpoint.unlink()


def draw(path: Path, rates: Sequence[str], found: dict[str, list[list[float]]]) -> None:
    """Draw AUC over the share of tumour, a line a variant."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in found.items():
        means, deviations = np.mean(values, axis=1), np.std(values, axis=1, ddof=1)
        axes.errorbar(range(len(rates)), means, deviations, label=name, capsize=3)
    axes.set_xticks(range(len(rates)), rates)
    axes.set_xlabel("tumour patches of a bag's")
    axes.set_ylabel("AUC, mean and SD of seeds")
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
