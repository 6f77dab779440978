"""Do heat maps find the tumour? Evidence and attention of each method against known tiles.

    python benchmarks/heatmaps.py --cohort COHORT --out FOLDER [--methods tcssa,abmil,clam_sb]

The 40 lung slides of COHORT are cut into patches of which each lies in one tile, tumour or normal
(``lung_tumour_tiles.csv``). `tcssa train-mil` runs its defaults on 30 of them in five folds; ten
are new. Each of the 30 is seen with the model of the fold that did not train on it, the ten with
the final model: a map was chosen on the 30. The figure of a slide is the area under the ROC curve
of its patches: of the evidence for its true class as it is drawn, of the patches' own parts of the
logits, which are compared with nothing, and of the attention.

Beside it stands how far the log-odds of the true class fall when the quarter of the patches that a
map shows as highest is taken away, or exchanged for patches of training slides of the other class,
of the same rank by attention.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diluted_tumour import job_of
from learn_to_see import tcssa
from lung_questions import Slide, read_slides
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tcssa.features import read_labels
from tcssa.files import atomic
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.classifiers import load_classifier
from tcssa.mil.classifier.final_model import load_final
from tcssa.mil.cohort.cohort import CohortSlide, read_cohort
from tcssa.mil.cohort.split_files import read_parts
from tcssa.mil.evidence import Reference, evidence_of
from tcssa.mil.evidence.quantities import quantities_of
from tcssa.mil.heatmaps.slide_map import SlideMap
from tcssa.mil.methods import BagClassifier
from tcssa.mil.results.finished import read_finished
from tcssa.reporter import Silent
from tcssa.statistics.ranking import area

CHECKPOINT = "checkpoint.safetensors"
NEW_OF_CLASS = 5
"""Slides of each class that no model is trained on."""
SEED = 17
"""Of the choice of these slides."""
TAKEN = 0.25
"""Share of the patches that is taken away, or exchanged."""
DONORS = 5
"""Slides of the other class that patches are exchanged with, one after another."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """One slide, and the model that it is new to."""

    slide: Slide
    label: str
    model: BagClassifier
    reference: Reference
    donors: list[Slide]
    """Training slides of the other class."""


@dataclass(frozen=True)
class Figures:
    """Figures of one map of one slide."""

    area: float
    without: float
    """Fall of the log-odds without the highest patches."""
    exchanged: float
    """Fall of the log-odds with other ones in their place."""


def main() -> None:
    """Train every method, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True, help="slides and labels.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--methods", default="tcssa,abmil,clam_sb", help="with commas")
    arguments = parser.parse_args()
    labelled = read_labels(arguments.cohort / "labels.csv")
    labels = {slide.slide_id: slide.label for slide in labelled}
    classes = sorted(set(labels.values()))
    job = job_of(arguments.cohort, arguments.out)
    slides = {slide.slide_id: slide for slide in read_slides(job)}
    new = new_slides(labels)
    rows = [f"{each.case_id},{each.slide_id},{each.label}" for each in labelled]
    rows = [row for row in rows if row.split(",")[1] not in new]
    table = arguments.out / "train.csv"
    atomic.write_text(table, "\n".join(["case_id,slide_id,label", *rows]) + "\n")
    shown = Table(title="AUC of patches, mean over slides (smallest to largest); falls by class")
    for title in ("method", "slides", "map", "all", *classes, "taken away", "exchanged", "error"):
        shown.add_column(title)
    for method in arguments.methods.split(","):
        run = arguments.out / f"run-{method}"
        tcssa(
            "train-mil", "--labels", table, "--features", job, "--model", method, "--out", run
        )  # fmt: skip
        for part, seen in {
            "30, by folds": seen_by_folds(run, slides, labels),
            "10 new": seen_by_final(run, slides, labels, new),
        }.items():
            for cells in cells_of(seen, classes):
                shown.add_row(method, part, *cells)
    Console(width=170).print(shown)


def cells_of(seen: Iterator[Seen], classes: Sequence[str]) -> Iterator[list[str]]:
    """Yield the cells of each map: its name, areas, falls, and how far sums are from log-odds."""
    found, error = figures_of(seen)
    for name, by_class in found.items():
        areas = [[figures.area for figures in by_class[label]] for label in classes]
        cells = [spread([value for each in areas for value in each]), *map(spread, areas)]
        for fall in ("without", "exchanged"):
            falls = [np.mean([getattr(f, fall) for f in by_class[label]]) for label in classes]
            cells.append(", ".join(f"{mean:.1f}" for mean in falls))
        yield [name, *cells, f"{error:.0e}"]


def new_slides(labels: dict[str, str]) -> set[str]:
    """Choose the slides that no model is trained on."""
    draws, found = random.Random(SEED), set()
    for label in sorted(set(labels.values())):
        of_class = sorted(slide for slide, its in labels.items() if its == label)
        found |= set(draws.sample(of_class, NEW_OF_CLASS))
    return found


def seen_by_folds(run: Path, slides: dict[str, Slide], labels: dict[str, str]) -> Iterator[Seen]:
    """Yield every slide that was trained on, with the fold that did not train on it."""
    cohort = read_cohort(read_finished(run).settings.cohort).slides
    for fold, parts in enumerate(read_parts(run / "splits.csv")):
        model = load_classifier(run / f"fold-{fold}" / CHECKPOINT)
        trained = [slide for slide in cohort if parts[slide.slide_id] == "train"]
        reference = Reference.of(model, trained, BagStore(0), torch.device("cpu"), Silent())
        for slide_id in (name for name, part in parts.items() if part == "test"):
            donors = others(trained, slides, labels, slide_id)
            yield Seen(slides[slide_id], labels[slide_id], model, reference, donors)


def seen_by_final(
    run: Path, slides: dict[str, Slide], labels: dict[str, str], new: set[str]
) -> Iterator[Seen]:
    """Yield the new slides with the final model."""
    finished = read_finished(run)
    cohort = read_cohort(finished.settings.cohort).slides
    model = load_final(finished)
    reference = Reference.read(run, model.task)
    assert reference is not None
    for slide_id in sorted(new):
        donors = others(cohort, slides, labels, slide_id)
        yield Seen(slides[slide_id], labels[slide_id], model, reference, donors)


def others(
    trained: Sequence[CohortSlide],
    slides: dict[str, Slide],
    labels: dict[str, str],
    slide_id: str,
) -> list[Slide]:
    """Draw training slides of the other class."""
    found = [slide.slide_id for slide in trained if labels[slide.slide_id] != labels[slide_id]]
    return [slides[name] for name in random.Random(slide_id).sample(found, DONORS)]


def figures_of(slides: Iterator[Seen]) -> tuple[dict[str, dict[str, list[Figures]]], float]:
    """Return each map's figures by class of the slide, and how far sums are from log-odds."""
    found: dict[str, dict[str, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    largest = 0.0
    for seen in slides:
        label, model, is_tumour = seen.label, seen.model, seen.slide.is_tumour
        evidence = evidence_of(model, torch.from_numpy(seen.slide.features))
        assert evidence.attention is not None
        drawn = SlideMap.of(evidence, model.task, seen.reference).evidence[label]
        own = evidence.parts @ quantities_of(model.task)[label]
        sum_of = log_odds(seen, seen.slide.features) - seen.reference.sums[label]
        largest = max(largest, abs(drawn.sum() - sum_of))
        rank = np.empty(len(drawn), dtype=int)
        rank[np.argsort(-evidence.attention, kind="stable")] = np.arange(len(drawn))
        maps = {
            "evidence": drawn, "compared with nothing": own, "attention": evidence.attention,
            "tumour": is_tumour.astype(float),
        }  # fmt: skip
        for name, values in maps.items():
            found[name][label].append(
                Figures(area(is_tumour, values), *falls_of(seen, values, rank / len(rank)))
            )
    return found, largest


def falls_of(seen: Seen, values: Floats, rank: Floats) -> tuple[float, float]:
    """Return how far the log-odds fall without the highest patches, and with exchanged ones.

    Args:
        seen: The slide.
        values: A map of it, [N].
        rank: Rank of its patches by attention, from 0 to below 1, [N].
    """
    features = seen.slide.features
    top = np.argsort(-values, kind="stable")[: int(TAKEN * len(values))]
    before = log_odds(seen, features)
    exchanged = []
    for donor in seen.donors:
        attention = evidence_of(seen.model, torch.from_numpy(donor.features)).attention
        assert attention is not None
        order = np.argsort(-attention, kind="stable")
        changed = features.copy()
        changed[top] = donor.features[order[(rank[top] * len(order)).astype(int)]]
        exchanged.append(before - log_odds(seen, changed))
    left = np.delete(features, top, axis=0)
    return before - log_odds(seen, left), float(np.mean(exchanged))


@torch.no_grad()
def log_odds(seen: Seen, features: NDArray[np.float32]) -> float:
    """Classify patches, and return the log-odds of the slide's true class."""
    logits = seen.model([torch.from_numpy(features)]).logits[0].double().numpy()
    return float(logits @ quantities_of(seen.model.task)[seen.label])


def spread(values: Sequence[float]) -> str:
    """Write the mean, the smallest and the largest value."""
    return f"{np.mean(values):.3f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
