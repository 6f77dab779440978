"""Draws a slide beside its slots and its evidence, by the model of a run that had not seen it.

    tcssa extract COHORT --magnification 40 --out job
    tcssa train-mil --labels LABELS --features job --num-slots 8 --out run
    python benchmarks/slots_and_evidence.py --run run --job job --slide LC-6f1259 --out FILE

The picture of the README is made so, of the 40 lung slides, LABELS being the cohort's without that
slide. Slots have numbers and no names: a colour says that patches share a first slot.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tcssa.features import find_bags, open_bag
from tcssa.mil.classifier.classifiers import load_classifier
from tcssa.mil.cohort.split_files import read_parts
from tcssa.mil.evidence import Reference, evidence_of
from tcssa.mil.heatmaps.drawing import raster
from tcssa.mil.heatmaps.slide_map import SlideMap
from tcssa.mil.slots.colours import slot_colours
from tcssa.slides.image.places import Places, picture_of, read_places

OPACITY = 0.65


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="run of train-mil")
    parser.add_argument("--job", type=Path, required=True, help="its features")
    parser.add_argument("--slide", required=True, help="slide_id")
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    arguments = parser.parse_args()
    assert all(arguments.slide not in fold for fold in read_parts(arguments.run / "splits.csv"))
    model = load_classifier(arguments.run / "final" / "checkpoint.safetensors")
    (bag,) = [bag for bag in find_bags([arguments.job]) if bag.slide_id == arguments.slide]
    with open_bag(bag) as opened:
        features = torch.from_numpy(opened.read())
    places = read_places(bag.address)
    assert isinstance(places, Places), places
    picture, _ = picture_of(bag.address, None, places)

    def paint(axes: Axes, values: np.ndarray, colour: Callable[[np.ndarray], np.ndarray]) -> None:
        shown = raster(values, places, picture.scale, picture.pixels.shape[:2])
        painted = colour(np.nan_to_num(shown))
        painted[..., 3] = OPACITY * np.isfinite(shown)
        axes.imshow(painted)

    reference = Reference.read(arguments.run, model.task)
    drawn = SlideMap.of(evidence_of(model, features), model.task, reference)
    layer = drawn.layers()[0]
    with torch.no_grad():
        output = model.compressor(features)
    first = output.assignments[:, 0].numpy()
    by_mass = np.argsort(-output.mass.numpy(), kind="stable").tolist()
    colours = slot_colours(by_mass)
    palette = np.array([[*colours[slot], 1.0] for slot in sorted(colours)])

    figure = Figure(figsize=(12, 4.1), layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, title in zip(panels, ("slide", "first slot", layer.title), strict=True):
        axes.imshow(picture.pixels)
        axes.set_axis_off()
        axes.set_title(title, fontsize=12)
    paint(panels[1], first.astype(float), lambda slots: palette[slots.astype(int)].copy())
    paint(panels[2], layer.scale(layer.values), colormaps[layer.scale.colours])
    named = [Patch(color=colours[slot], label=str(slot)) for slot in by_mass if slot in first]
    panels[1].legend(handles=named, loc="lower right", ncols=2, fontsize=8)
    figure.savefig(arguments.out, dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    main()
