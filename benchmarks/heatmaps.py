"""Do heat maps find the tumour? Evidence and attention of each method against known tiles.

    python benchmarks/heatmaps.py --cohort COHORT --out FOLDER [--methods tcssa,abmil,clam_sb]

The 40 lung slides of COHORT are cut into patches of which each lies in one tile, tumour or normal
(``lung_tumour_tiles.csv``). `tcssa train-mil` runs its defaults in five folds; every slide is then
seen with the model of the fold that did not train on it. The figure of a slide is the area under
the ROC curve of its patches, of the evidence for its true class, and of the attention. Beside it:
how far the log-odds of the true class fall when the quarter of the patches that a map shows as
highest is taken away, or the tumour itself.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diluted_tumour import job_of
from learn_to_see import tcssa
from lung_questions import read_slides
from rich.console import Console
from rich.table import Table

from tcssa.features import read_labels
from tcssa.mil.classifier.classifiers import load_classifier
from tcssa.mil.cohort.split_files import read_parts
from tcssa.mil.evidence import evidence_of
from tcssa.mil.evidence.quantities import quantities_of
from tcssa.mil.heatmaps.slide_map import SlideMap
from tcssa.statistics.ranking import area

CHECKPOINT = "checkpoint.safetensors"
TAKEN = 0.25
"""Share of the patches that is taken away."""


def main() -> None:
    """Train every method, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True, help="slides and labels.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--methods", default="tcssa,abmil,clam_sb", help="with commas")
    arguments = parser.parse_args()
    table = arguments.cohort / "labels.csv"
    labels = {slide.slide_id: slide.label for slide in read_labels(table)}
    job = job_of(arguments.cohort, arguments.out)
    classes = sorted(set(labels.values()))
    shown = Table(title="AUC of patches, mean over test slides (smallest to largest)")
    falls = [f"fall, {label}" for label in classes]
    for title in ("method", "map", "all slides", *classes, *falls, "sum − logit"):
        shown.add_column(title)
    for method in arguments.methods.split(","):
        run = arguments.out / f"run-{method}"
        tcssa(
            "train-mil", "--labels", table, "--features", job, "--model", method, "--out", run
        )  # fmt: skip
        found, error = areas_of(run, job, labels)
        for name, by_class in found.items():
            areas = {label: [area for area, _ in by_class[label]] for label in classes}
            cells = [spread([value for each in areas.values() for value in each])]
            cells += [spread(areas[label]) for label in classes]
            cells += [f"{np.mean([fall for _, fall in by_class[label]]):.1f}" for label in classes]
            shown.add_row(method, name, *cells, f"{error:.0e}")
    Console(width=150).print(shown)


def areas_of(
    run: Path, job: Path, labels: dict[str, str]
) -> tuple[dict[str, dict[str, list[tuple[float, float]]]], float]:
    """Return area and fall of each map by class of the slide, and how far sums are from logits."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    slides = {slide.slide_id: slide for slide in read_slides(job)}
    largest = 0.0
    for fold, parts in enumerate(read_parts(run / "splits.csv")):
        model = load_classifier(run / f"fold-{fold}" / CHECKPOINT)
        for slide_id in (name for name, part in parts.items() if part == "test"):
            slide, label = slides[slide_id], labels[slide_id]
            bag = torch.from_numpy(slide.features)
            evidence = evidence_of(model, bag)
            with torch.no_grad():
                logits = model([bag]).logits[0].double().numpy()
            largest = max(largest, float(np.abs(evidence.parts.sum(axis=0) - logits).max()))
            drawn = SlideMap.of(evidence, model.task)
            maps = {"evidence": drawn.evidence[label], "tumour": slide.is_tumour.astype(float)}
            if drawn.attention is not None:
                maps["attention"] = drawn.attention
            for name, values in maps.items():
                order = np.argsort(-values, kind="stable")
                count = slide.is_tumour.sum() if name == "tumour" else int(TAKEN * len(order))
                left = evidence_of(model, bag[np.sort(order[count:])])
                fall = (evidence.logits - left.logits) @ quantities_of(model.task)[label]
                found[name][label].append((area(slide.is_tumour, values), fall))
    return found, largest


def spread(values: Sequence[float]) -> str:
    """Write the mean, the smallest and the largest value."""
    return f"{np.mean(values):.3f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
