"""Every method on one cohort, under one protocol: a table of figures by method.

    python benchmarks/mil_methods.py --labels L --features F --out DIR [--models abmil,tcssa]
        [--folds 10] [--seeds 0,1,2] [--option train.epochs=20]

Each method and seed is a run of train-mil (cross-validated by patient; the epoch is chosen on
validation, test is looked at once), so a killed table goes on where it was. Figures are pooled over
the test slides of all folds; the table shows their mean over seeds and each seed's own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from tcssa.config.settings import validate
from tcssa.errors import MissingDataError
from tcssa.mil.methods import METHODS
from tcssa.mil.settings import MilSettings
from tcssa.mil.training.train import train
from tcssa.reporter import Silent

SHOWN = ("accuracy", "auc", "balanced_accuracy")


def main() -> None:
    """Train what is missing and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default=",".join(["tcssa", *METHODS]))
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--option", action="append", default=[], help="section.name=value")
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    print(f"| model | {' | '.join(f'{name}, mean (seeds)' for name in SHOWN)} |")
    print("| --- | " + " | ".join("---" for _ in SHOWN) + " |")
    for model in given.models.split(","):
        try:
            pooled = [run(given, model, seed) for seed in seeds]
        except MissingDataError as error:  # a method that reads coords, on bags without them
            print(f"| {model} | {error} |" + " |" * (len(SHOWN) - 1), flush=True)
            continue
        print(f"| {model} | {' | '.join(cell(pooled, name) for name in SHOWN)} |", flush=True)


def run(given: argparse.Namespace, model: str, seed: int) -> dict[str, Any]:
    """The pooled scores of one method and seed."""
    out = given.out / f"{model.replace(':', '.')}-seed{seed}"
    metrics = train(settings(given, model, seed), out, Silent())
    pooled: dict[str, Any] = metrics.pooled
    return pooled


def settings(given: argparse.Namespace, model: str, seed: int) -> MilSettings:
    """Return the settings of a method; all methods share all options that are not of the model."""
    values: dict[str, Any] = {
        "cohort": {"labels": given.labels, "features": given.features},
        "model": {"name": model},
        "train": {"folds": given.folds, "seed": seed},
    }
    for option in given.option:
        place, _, value = option.partition("=")
        section, _, name = place.partition(".")
        values[section][name] = yaml.safe_load(value)
    return validate(MilSettings, MilSettings.completed(values))  # tcssa by the paper's recipe


def cell(pooled: list[dict[str, Any]], name: str) -> str:
    """``0.880 (0.87, 0.89, 0.88)``."""
    scores = [scores[name]["value"] for scores in pooled]
    return f"{mean(scores):.3f} ({', '.join(f'{score:.3f}' for score in scores)})"


if __name__ == "__main__":
    main()
