"""Every method on the small classic sets of bags: MUSK1, digits bags, UCSB breast cancer.

    python benchmarks/bag_tables.py --out DIR [--data musk1,digits,ucsb] [--methods abmil,tcssa]
        [--seeds 0,1,2] [--lr 3e-4] [--device cpu] [--quick] [--report]

Each (data, method, seed) is a run of train-mil: ten folds by patient, the epoch chosen on
validation, test looked at once. A killed script goes on where it was; ``OUT/bag_tables.md`` is
written again after every run and names the cells that are missing. ``--report`` only writes it.

Digits bags are MNIST bags (Ilse et al. 2018) made of scikit-learn's 8 x 8 digits: about ten
digits a bag, positive if one of them is a nine. The digits are first divided into ten groups and
a bag draws from one group, which is its patient: so no image stands in training and in test.
"""

from __future__ import annotations

import argparse
import io
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

from tcssa.config.recipes import recipe_settings
from tcssa.config.settings import validate
from tcssa.errors import TcssaError
from tcssa.features.import_bags import import_bags
from tcssa.files import atomic
from tcssa.mil.methods import METHODS
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.mil.settings import MilSettings
from tcssa.mil.training.train import train
from tcssa.reporter import Silent
from tcssa.run import RUN_FILE, read_run

TABLES = Path(__file__).resolve().parents[2] / "shared" / "mil"
SOURCES = {"musk1": "musk1.csv.gz", "digits": None, "ucsb": "ucsb_breast_cancer.csv.gz"}
"""Cohort to its table; digits bags are drawn."""

SMALL = {"num_slots": 8, "hidden_dim": 128}
"""TC-SSA for bags of ten: its own 32 slots are more than there are patches."""
EMBEDDED = {**SMALL, "embed_dim": 128}
VARIANTS: dict[str, dict[str, Any]] = {
    "tcssa": {},
    "tcssa K=8": SMALL,
    "tcssa K=8 pool max": {**SMALL, "pool": "max"},
    "tcssa K=8 pool attention": {**SMALL, "pool": "attention"},
    "tcssa K=8 pool mass": {**SMALL, "pool": "mass"},
    "tcssa K=8 embed 128": EMBEDDED,
    "tcssa K=8 embed 128 pool max": {**EMBEDDED, "pool": "max"},
    "tcssa K=8 embed 128 pool attention": {**EMBEDDED, "pool": "attention"},
    "tcssa K=8 embed 128 pool mass": {**EMBEDDED, "pool": "mass"},
    "tcssa K=8 recipe raw": {"num_slots": 8},
}
"""Shapes of TC-SSA, as settings of its model; the first is the paper's."""
RECIPE_OF = {"tcssa K=8 recipe raw": "raw"}
"""All others are of the paper's recipe, and differ from it as they say."""
NEED_COORDS = {"2dmamba"}
"""Not on these sets: a molecule's shapes lie on no plane, and UCSB's patches do not say where."""
QUICKEST_FIRST = ["mean", "max", "abmil", "dsmil", "clam_sb", "clam_mb", "abmilx"]

EXPECTED = {
    ("musk1", "abmil"): "0.892, gated 0.900",
    ("digits", "abmil"): "about 0.95",
    ("digits", "tcssa K=8 embed 128"): "about 0.92",
}
NUM_GROUPS, BAGS_A_GROUP, POSITIVE = 10, 20, 9
LR = 3e-4


def main() -> None:
    """Train what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    methods = [*QUICKEST_FIRST, *VARIANTS, *sorted(set(METHODS) - {*QUICKEST_FIRST, *NEED_COORDS})]
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tables", type=Path, default=TABLES, help="where the CSVs lie")
    parser.add_argument("--data", default=",".join(SOURCES))
    parser.add_argument("--methods", default=",".join(methods))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--lr", type=float, default=LR, help="another one needs another --out")
    parser.add_argument("--device", default="cpu", help="cuda pays for transmil and rrt alone")
    parser.add_argument("--quick", action="store_true", help="one seed, three folds, two epochs")
    parser.add_argument("--report", action="store_true", help="only write the table")
    given = parser.parse_args()
    torch.set_num_threads(1)  # bags are small: more threads only wait for each other
    out = given.out / "quick" if given.quick else given.out
    seeds = [0] if given.quick else [int(seed) for seed in given.seeds.split(",")]
    data, chosen = given.data.split(","), given.methods.split(",")
    for seed, name, method in () if given.report else itertools.product(seeds, data, chosen):
        cohort = out / "cohorts" / name
        make_cohort(name, cohort, given.tables)
        begin = time.perf_counter()
        run = run_folder(out, name, method, seed)
        try:
            how = {"quick": given.quick, "lr": given.lr, "device": given.device}
            train(settings(cohort, method, seed, **how), run, Silent())
            became = f"{time.perf_counter() - begin:.0f} s"
        except TcssaError as error:  # the other cells are still worth having
            became = f"not trained: {error}"
        print(f"{name}, {method}, seed {seed}: {became}", flush=True)
        atomic.write_text(out / "bag_tables.md", table(out, data, chosen, seeds))
    report = table(out, data, chosen, seeds)
    atomic.write_text(out / "bag_tables.md", report)
    print(report)


def run_folder(out: Path, data: str, method: str, seed: int) -> Path:
    """Return the folder of a run."""
    return out / data / f"{method.replace(' ', '-')}-seed{seed}"


def settings(
    cohort: Path,
    method: str,
    seed: int,
    *,
    quick: bool = False,
    lr: float = LR,
    device: str = "cpu",
) -> MilSettings:
    """Return the settings of a method: all share everything that is not of the model."""
    model = {"name": "tcssa", **VARIANTS[method]} if method in VARIANTS else {"name": method}
    length = {"epochs": 2, "folds": 3} if quick else {"folds": NUM_GROUPS}
    recipe = RECIPE_OF.get(method, "paper")
    defaults = recipe_settings(recipe)
    rate = {"lr": lr} if recipe == "paper" else {}  # other recipes come as they are
    values = {
        "recipe": recipe,
        "cohort": {"labels": cohort / "labels.csv", "features": cohort / "features"},
        "model": {**defaults.get("model", {}), **model},
        "train": {
            **defaults.get("train", {}), "seed": seed, **rate, "device": device, **length
        },
    }  # fmt: skip
    return validate(MilSettings, values)


def make_cohort(name: str, folder: Path, tables: Path) -> None:
    """Labels and features of a cohort, unless they are there."""
    if (folder / "labels.csv").exists():
        return
    source = SOURCES[name]
    if source is None:
        draw_digit_bags(folder)
    else:
        import_bags(tables / source, folder, standardise=True)


def draw_digit_bags(folder: Path) -> None:
    """Digits bags; the label table comes last, so a part of them is never taken for all."""
    digits = load_digits()
    images, kinds = digits.data / 16, digits.target
    rng = np.random.default_rng(0)
    division = StratifiedKFold(NUM_GROUPS, shuffle=True, random_state=0).split(images, kinds)
    rows = []
    for group, (_, members) in enumerate(division):
        for number in range(BAGS_A_GROUP):
            positive = number % 2 == 1
            drawn = draw(members, kinds, rng, positive=positive)
            name = f"bag-{group}-{number:02d}"
            write_bag(folder / "features" / f"{name}.h5", images[drawn])
            rows.append([f"group-{group}", name, str(int(positive))])
    atomic.write_csv(folder / "labels.csv", ["case_id", "slide_id", "label"], rows)


def draw(
    members: NDArray[Any], kinds: NDArray[Any], rng: np.random.Generator, *, positive: bool
) -> NDArray[Any]:
    """About ten different images of a group; drawn again until there is a nine, or none."""
    size = max(1, round(rng.normal(10, 2)))
    while True:
        drawn = rng.choice(members, size, replace=False)
        if bool((kinds[drawn] == POSITIVE).any()) == positive:
            return drawn


def write_bag(path: Path, features: NDArray[Any]) -> None:
    """One bag as a feature file."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        dataset = file.create_dataset("features", data=features.astype(np.float32))
        dataset.attrs["encoder"] = "digits"
    atomic.write_bytes(path, content.getvalue())


def table(out: Path, data: Sequence[str], methods: Sequence[str], seeds: Sequence[int]) -> str:
    """Accuracy and AUC by method and cohort as Markdown; what is not finished says so."""
    header = [f"{name}: {what}" for name in data for what in ("accuracy", "AUC", "expected")]
    lines = [f"| method | {' | '.join(header)} |", "| --- |" + " --- |" * len(header)]
    for method in methods:
        cells = []
        for name in data:
            pooled = [scores(run_folder(out, name, method, seed)) for seed in seeds]
            cells += [cell(pooled, "accuracy"), cell(pooled, "auc")]
            cells.append(EXPECTED.get((name, method), ""))
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def scores(run: Path) -> dict[str, Any] | None:
    """Pooled figures of a run; None if it is not finished."""
    if not (run / RUN_FILE).exists() or not read_run(run).get("complete"):
        return None
    pooled: dict[str, Any] = read_metrics(run).pooled
    return pooled


def cell(runs: Sequence[dict[str, Any] | None], name: str) -> str:
    """``0.880 ± 0.010``, mean and deviation over seeds, and how many seeds are missing."""
    found = [scores[name]["value"] for scores in runs if scores is not None]
    if not found:
        return "unfinished"
    spread = f" ± {stdev(found):.3f}" if len(found) > 1 else ""
    short = "" if len(found) == len(runs) else f" ({len(found)} of {len(runs)} seeds)"
    return f"{mean(found):.3f}{spread}{short}"


if __name__ == "__main__":
    main()
