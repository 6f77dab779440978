"""Small cohorts of features with a signal in them."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
from factories import write_bag
from made_once import made_once

from tcssa.mil.settings import CohortSettings, MilSettings, ModelSettings, TrainSettings
from tcssa.reporter import Silent


def write_cohort(folder: Path, num_slides: int = 18, *, shift: float = 0.9) -> CohortSettings:
    """Slides of two classes; the mean of every second feature tells them apart."""
    rows = ["case_id,slide_id,label"]
    for i in range(num_slides):
        label = i % 2
        write_bag(folder / "features" / f"s{i:02d}.h5", 20 + i, seed=i, shift=shift * label)
        rows.append(f"p{i:02d},s{i:02d},{'ab'[label]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return CohortSettings(labels=folder / "labels.csv", features=folder / "features")


def state_grid(path: Path, mpp: float, patch_size: int) -> None:
    """Let a feature file say how its patches were cut."""
    with h5py.File(path, "r+") as file:
        made = {"mpp": mpp, "patch_size": patch_size, "overlap": 0}
        file["features"].attrs["params"] = json.dumps(made)


def small_run(cohort: CohortSettings, **train: object) -> MilSettings:
    """Settings under which a cohort of `write_cohort` trains in about a second."""
    return MilSettings(
        cohort=cohort,
        model=ModelSettings(num_slots=4, hidden_dim=8, head_dim=8),
        train=TrainSettings.model_validate(
            {"epochs": 12, "batch_size": 2, "lr": 1e-2, "folds": 3, **train}
        ),
    )


def brief_run(factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on a cohort of `write_cohort`, which lies beside it; only to be read."""
    from tcssa.mil.training.train import train  # imports torch

    def make(folder: Path) -> None:
        train(small_run(write_cohort(folder), epochs=2), folder / "run", Silent())

    return made_once(factory, "brief-run", make) / "run"


def gridded_run(factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on patches 112 µm wide, beside its cohort; only to be read."""
    from tcssa.mil.training.train import train  # imports torch

    def make(folder: Path) -> None:
        cohort = write_cohort(folder)
        for path in (folder / "features").glob("*.h5"):
            state_grid(path, 0.5, 224)
        train(small_run(cohort, epochs=1), folder / "run", Silent())

    return made_once(factory, "gridded-run", make) / "run"


def write_labelled(
    folder: Path, labels: Sequence[dict[str, str]], shifts: Sequence[float], name: str = ""
) -> CohortSettings:
    """Slides with labels of any kind.

    Args:
        folder: Where to.
        labels: Columns of the table, slide by slide; each a patient of its own unless they say so.
        shifts: How far every second feature of each slide is moved.
        name: Begins the names of slides and patients, to tell cohorts apart.
    """
    rows = []
    for i, (label, shift) in enumerate(zip(labels, shifts, strict=True)):
        write_bag(folder / "features" / f"{name}s{i:02d}.h5", 15 + i % 7, seed=i, shift=shift)
        rows.append({"slide_id": f"{name}s{i:02d}", "case_id": f"{name}p{i:02d}", **label})
    table = folder / f"{name}labels.csv"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return CohortSettings(labels=table, features=folder / "features")


def write_survival(folder: Path, *, shuffled: bool = False, name: str = "") -> CohortSettings:
    """Forty patients of a slide each; the farther the features, the earlier the event."""
    rng = np.random.default_rng(3)
    hazard = rng.permutation(np.linspace(0, 2, 40))
    times = 60 * np.exp(-1.5 * hazard) * rng.uniform(0.8, 1.25, 40)
    events = rng.random(40) < 0.75
    times[~events] *= rng.uniform(0.4, 1, (~events).sum())
    rows = [{"time": f"{t:.3f}", "event": str(int(e))} for t, e in zip(times, events, strict=True)]
    if shuffled:
        rows = [rows[i] for i in rng.permutation(40)]
    cohort = write_labelled(folder, rows, hazard.tolist(), name=name)
    return cohort.model_copy(update={"kind": "survival"})


def write_patients(folder: Path, num_patients: int = 9, *, shift: float = 1.0) -> CohortSettings:
    """Patients of one to three slides each, with one label a patient; trained by case."""
    rows, slide = ["case_id,slide_id,label"], 0
    for i in range(num_patients):
        for _ in range(1 + i % 3):
            name, path = f"s{slide:02d}", folder / "features" / f"s{slide:02d}.h5"
            write_bag(path, 12 + slide, seed=slide, shift=shift * (i % 2))
            rows.append(f"p{i:02d},{name},{'ab'[i % 2]}")
            slide += 1
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return CohortSettings(labels=folder / "labels.csv", features=folder / "features", unit="case")
