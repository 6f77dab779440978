"""Views of the lung slides with facts that are known of each, and questions about these facts.

A slide of the cohort is 28 images of 224 pixels on a grid: 8 of tumour, LUAD or LUSC as the label
says, and 20 of normal lung. Which are which stands in ``lung_tumour_tiles.csv``; every image was
looked at. A patch of 112 pixels lies within one image, so what it shows is known.

A view is a bag of 32 patches drawn from one slide, with a chosen share of tumour. So the facts of a
view are true by construction: the kind of tumour, whether there is any, and its share in bands.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tcssa.features import index_bags, open_bag
from tcssa.files import atomic
from tcssa.files.table import read_table

TILES = Path(__file__).with_name("lung_tumour_tiles.csv")
BORDER_PX, TILE_PX = 112, 224
VIEW_PATCHES = 32
BANDS = ("none", "a few", "about half", "most")
TUMOUR_PATCHES = {"none": (0, 0), "a few": (3, 6), "about half": (13, 19), "most": (26, 29)}
"""Fewest and most tumour patches of a view's 32, by band."""
DIAGNOSES = {"LUAD": "adenocarcinoma", "LUSC": "squamous cell carcinoma"}
NORMAL = "normal lung"
SHARES = {
    "none": "none",
    "a few": "less than a quarter",
    "about half": "about half",
    "most": "more than three quarters",
}
LETTERS = "ABCD"


@dataclass(frozen=True)
class View:
    """A bag drawn from one slide, and what is true of it."""

    name: str
    slide_id: str
    label: str
    """LUAD or LUSC: of the slide."""
    band: str
    number: int
    """Among the slide's views of this band."""

    @property
    def diagnosis(self) -> str:
        """Name what the patches of the view show."""
        return NORMAL if self.band == "none" else DIAGNOSES[self.label]


@dataclass(frozen=True)
class Asked:
    """A question about a view."""

    kind: str
    text: str
    options: tuple[str, ...]
    answer: int
    """Index of the true option."""


@dataclass(frozen=True)
class Talk:
    """Everything said about a view: questions and their answers, in order."""

    view: View
    turns: tuple[tuple[str, str], ...]


def compose_views(
    features: Path, labels: dict[str, str], out: Path, per_band: int, seed: int
) -> list[View]:
    """Draw ``per_band`` views of each band from every slide, and write them as feature files."""
    views = []
    for slide in read_slides(features):
        rng = slide.draws(seed)
        for band in BANDS:
            for index in range(per_band):
                low, high = TUMOUR_PATCHES[band]
                count = int(rng.integers(low, high + 1))
                name = f"{slide.slide_id}-{BANDS.index(band)}{index:02d}"
                slide.write_bag(out / f"{name}.h5", count, VIEW_PATCHES - count, rng)
                views.append(View(name, slide.slide_id, labels[slide.slide_id], band, index))
    return views


def write_mixed_bags(
    features: Path, out: Path, num_patches: int, num_tumour: int, per_slide: int, seed: int
) -> dict[str, str]:
    """Draw bags of a slide's tumour patches among normal ones of any slide.

    So nothing but the tumour belongs to the slide.

    Returns:
        The slide of each bag, by the bag's name.
    """
    slides = list(read_slides(features))
    normal = np.concatenate([slide.features[~slide.is_tumour] for slide in slides])
    bags = {}
    for slide in slides:
        rng = slide.draws(seed)
        for index in range(per_slide):
            name = f"{slide.slide_id}-{index:02d}"
            tumour = rng.choice(np.flatnonzero(slide.is_tumour), num_tumour, replace=False)
            others = rng.choice(len(normal), num_patches - num_tumour, replace=False)
            rows = np.concatenate([slide.features[tumour], normal[others]])
            _write_bag(out / f"{name}.h5", rows[rng.permutation(num_patches)])
            bags[name] = slide.slide_id
    return bags


def _write_bag(path: Path, features: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["features"] = features
        file["features"].attrs["encoder"] = "efficientnet_lite0"


def split_slides(labels: dict[str, str], num_val: int, num_test: int, seed: int) -> dict[str, str]:
    """Choose the slides that train, validate and test; as many of one class as of the other."""
    parts = {}
    for label in sorted(set(labels.values())):
        slides = sorted(name for name, found in labels.items() if found == label)
        random.Random(f"{seed} {label}").shuffle(slides)
        for place, slide in enumerate(slides):
            held_out = "val" if place < num_test // 2 + num_val // 2 else "train"
            parts[slide] = "test" if place < num_test // 2 else held_out
    return parts


def questions_of(view: View, rng: random.Random) -> list[Asked]:
    """Questions about a view, options in random order: letters tell nothing.

    Whether there is tumour is asked where it is hardest to tell, of views with none and a few, so
    that "yes" is right as often as "no".
    """
    asked = [
        ("diagnosis", "What do the patches show?", [*DIAGNOSES.values(), NORMAL], view.diagnosis),
        ("share", "How much of the tissue is tumour?", list(SHARES.values()), SHARES[view.band]),
    ]
    if view.band in BANDS[:2]:
        answer = "no" if view.band == "none" else "yes"
        asked.append(("presence", "Is there tumour?", ["yes", "no"], answer))
    questions = []
    for kind, text, options, answer in asked:
        shuffled = rng.sample(options, len(options))
        questions.append(Asked(kind, text, tuple(shuffled), shuffled.index(answer)))
    return questions


def caption_of(view: View) -> str:
    """Say what is to be seen, in one sentence."""
    if view.band == "none":
        return "Normal lung, no tumour."
    share = SHARES[view.band].capitalize()
    return f"{view.diagnosis.capitalize()}. {share} of the tissue is tumour."


def captions(views: Sequence[View]) -> list[Talk]:
    """Stage 1: what is to be seen."""
    return [Talk(view, (("Describe the slide.", caption_of(view)),)) for view in views]


def questions(views: Sequence[View], rng: random.Random) -> list[Talk]:
    """Stage 2: every question of every view, answered in words."""
    return [
        Talk(view, ((asked.text, asked.options[asked.answer]),))
        for view in views
        for asked in questions_of(view, rng)
    ]


def write_conversations(path: Path, talks: Sequence[Talk]) -> None:
    """Write conversations as SlideInstruct has them."""
    content = []
    for number, talk in enumerate(talks):
        said = []
        for question, answer in talk.turns:
            said.append({"from": "human", "value": question if said else f"<image>\n{question}"})
            said.append({"from": "gpt", "value": answer})
        content.append(
            {
                "id": f"{talk.view.name}-{number}",
                "image": [f"./{talk.view.name}.h5"],
                "conversations": said,
            }
        )
    atomic.write_text(path, json.dumps(content, indent=1) + "\n")


def write_benchmark(path: Path, rows: Sequence[tuple[View, Asked]]) -> None:
    """Write questions with options as WSI-VQA has them."""
    content = [
        {
            "Id": view.name,
            "Question": asked.text,
            "Choice": list(asked.options),
            "Answer": asked.options[asked.answer],
        }
        for view, asked in rows
    ]
    atomic.write_text(path, json.dumps(content, indent=1) + "\n")


@dataclass(frozen=True)
class Slide:
    """A slide's patches, and which of them are of tumour."""

    slide_id: str
    features: np.ndarray
    corners: np.ndarray
    is_tumour: np.ndarray

    def draws(self, seed: int) -> np.random.Generator:
        """Random numbers of this slide."""
        return np.random.default_rng([seed, int(self.slide_id.split("-")[1], 16)])

    def write_bag(
        self, path: Path, num_tumour: int, num_normal: int, rng: np.random.Generator
    ) -> None:
        """Draw patches of both kinds and write them as a feature file."""
        chosen = np.concatenate(
            [
                rng.choice(np.flatnonzero(self.is_tumour), num_tumour, replace=False),
                rng.choice(np.flatnonzero(~self.is_tumour), num_normal, replace=False),
            ]
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["features"], file["coords"] = self.features[chosen], self.corners[chosen]
            file["features"].attrs["encoder"] = "efficientnet_lite0"


def read_slides(features: Path) -> Iterator[Slide]:
    """Read the slides of a job, with the patches of each that are tumour."""
    rows = read_table(TILES).rows.values()
    tumour_tiles = {row["slide_id"]: set(row["tumour_tiles"].split()) for row in rows}
    for slide_id, path in sorted(index_bags(features).items()):
        with open_bag(path) as bag:
            rows, corners = bag.read(), bag.read_coords()
        assert corners is not None
        tiles = (corners - BORDER_PX) // TILE_PX
        is_tumour = np.array([f"r{y}c{x}" in tumour_tiles[slide_id] for x, y in tiles])
        yield Slide(slide_id, rows, corners, is_tumour)
